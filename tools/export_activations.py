#!/usr/bin/env python3
"""Writes the activations of a Hugging Face model on a text, for `veloxquant precompute --activations`.

    python3 tools/export_activations.py MODEL TEXT OUTPUT.safetensors [--windows 6] [--tokens 4096] [--name NAME]

For models that veloxquant does not run itself, on whatever machine runs them. Needs torch, transformers and
safetensors. Every attention layer must have q_proj, k_proj, v_proj and o_proj (q_norm and k_norm may follow), as Llama,
Mistral, Qwen2 and Qwen3 have. include/veloxquant/eval/activation_file.hpp describes the file; its size is
windows x tokens x layers x (heads + 2 KV heads) x head_dim x 2 bytes.

NAME binds the artifacts to a model: the fingerprint that `veloxquant inspect` shows, or what the engine will say in
KVCacheOptions::model. Without it they are bound to none.
"""

import argparse
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


class Capture:
    """What the projections of every attention layer gave for one window."""

    def __init__(self, model, config):
        self.dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.tensors = {}
        self.prefix = ""
        self.layers = [layer.self_attn for layer in model.model.layers]
        for index, (block, attention) in enumerate(zip(model.model.layers, self.layers)):
            block.register_forward_pre_hook(self.keep_input(index), with_kwargs=True)
            # A norm of queries or keys comes before the rotary embedding, and what it gives is what is turned.
            for what, projection, norm in (("queries", "q_proj", "q_norm"), ("keys", "k_proj", "k_norm"),
                                           ("values", "v_proj", None)):
                last = getattr(attention, norm, None) if norm else None
                (last or getattr(attention, projection)).register_forward_hook(self.keep_heads(index, what))

    def put(self, layer, what, tensor):
        self.tensors[f"{self.prefix}layers.{layer}.{what}"] = tensor.contiguous().cpu()

    def keep_input(self, layer):
        def hook(module, args, kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            self.put(layer, "input", hidden[0].float().square().mean(dim=-1))

        return hook

    def keep_heads(self, layer, what):
        def hook(module, args, output):
            # [1, n, heads * dim] from a projection, [1, n, heads, dim] from a norm of heads
            heads = output.reshape(output.shape[1], -1, self.dim)
            self.put(layer, what, heads.transpose(0, 1).to(torch.float16 if output.dtype == torch.float16
                                                            else torch.bfloat16 if output.dtype == torch.bfloat16
                                                            else torch.float32))

        return hook


def windows_of(ids, bos, tokens, count):
    """Windows of `tokens` tokens, each with the token that starts a text in front, if the model has one."""
    body = tokens - (bos is not None)
    cut = [ids[i:i + body] for i in range(0, len(ids) - body + 1, body)][:count]
    return [([bos] if bos is not None else []) + window for window in cut]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--name", default="")
    args = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype="auto").eval()
    ids = tokenizer(args.text.read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
    windows = windows_of(ids, model.config.bos_token_id, args.tokens, args.windows)
    if not windows:
        parser.error(f"the text has {len(ids)} tokens, not one window of {args.tokens}")
    capture = Capture(model, model.config)
    with torch.no_grad():
        for index, window in enumerate(windows):
            capture.prefix = f"windows.{index}."
            model.model(torch.tensor([window], device=model.device), use_cache=False)
    for index, attention in enumerate(capture.layers):
        capture.tensors[f"layers.{index}.output"] = attention.o_proj.weight.detach().contiguous().cpu()
    metadata = {"veloxquant.schema": "veloxquant.activations/1", "config": model.config.to_json_string(use_diff=False),
                "model": args.name}
    save_file(capture.tensors, args.output, metadata=metadata)
    print(f"{args.output}: {len(windows)} windows of {args.tokens} tokens, {len(capture.layers)} layers")


if __name__ == "__main__":
    main()
