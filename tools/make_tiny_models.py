#!/usr/bin/env python3
"""Writes the tiny random models of tests/models/data and what transformers computes with them.

    python3 tools/make_tiny_models.py tests/models/data

Needs torch, transformers (5.23 made the files in the tree) and safetensors. Each folder is a Hugging Face model
folder with one more file, expected.safetensors: `tokens` (i32 [n]) and `logits` (f32 [n, vocab], computed in fp32
with eager attention from the weights as stored). The models cover what no trained fixture does: Llama 3 and linear
rotary scaling, biases, sliding windows on all or some layers, f32 and f16 weights, sizes that no vector width divides.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

SHAPE = dict(vocab_size=50, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
TOKENS = 45  # not a multiple of anything that the code cuts by


def models():
    """name -> (config, element type of the weights)"""
    return {
        "llama3_rope": (LlamaConfig(**SHAPE, head_dim=16, rope_parameters=LLAMA3), torch.bfloat16),
        "llama_linear_bias": (LlamaConfig(**SHAPE, head_dim=10, attention_bias=True, mlp_bias=True,
                                          tie_word_embeddings=True,
                                          rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.5)),
                              torch.float32),
        "mistral_window": (MistralConfig(**SHAPE, head_dim=16, sliding_window=7), torch.bfloat16),
        "qwen2_bias_window": (Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=9, max_window_layers=1),
                              torch.float16),
        "qwen3_norm": (Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True), torch.bfloat16),
    }


def randomize(model, generator):
    """Weights large enough that attention is far from uniform and the logits spread over several nats."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1.0 + 0.3 * noise)
            elif name.endswith("bias"):
                weight.copy_(0.5 * noise)
            else:
                weight.copy_(noise * 1.5 / weight.shape[-1] ** 0.5)


def old_style(folder):
    """Rewrites rope_parameters as files before transformers 5 have it: rope_theta beside rope_scaling."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    config["rope_scaling"] = scaling
    path.write_text(json.dumps(config, indent=2) + "\n")


def main():
    target = pathlib.Path(sys.argv[1])
    for seed, (name, (config, dtype)) in enumerate(models().items()):
        generator = torch.Generator().manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        randomize(model, generator)
        folder = target / name
        model.to(dtype).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        # Read again, because to() has rounded the rotary frequencies with the weights.
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        tokens = torch.randint(0, config.vocab_size, (1, TOKENS), generator=generator)
        with torch.no_grad():
            logits = model(tokens).logits[0]
        save_file({"tokens": tokens[0].to(torch.int32), "logits": logits.contiguous()},
                  folder / "expected.safetensors")
        if name == "llama3_rope":
            old_style(folder)
        print(name, "logits", tuple(logits.shape), "spread", float(logits.std()))


if __name__ == "__main__":
    main()
