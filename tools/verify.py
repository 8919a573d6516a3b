#!/usr/bin/env python3
"""Measures the figures that the project states, on this machine, and prints a table.

    tools/verify.py --build build/release [--quick] [--only WORD]

Models and texts beyond the demo's are looked for in ../shared (or --data); what needs them is reported as skipped when
they are not there. --quick leaves out what takes minutes. Exit code 1 when a figure is missed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Skip(Exception):
    pass


def ratio(a, b):
    """a / b, or None where one of them was not measured."""
    return None if a is None or b is None else a / b


class Verifier:
    def __init__(self, build, data, quick):
        self.build, self.data, self.quick = build, data, quick
        self.rows = []

    # What is measured ------------------------------------------------------------------------------------------------

    def model(self, name):
        folder = self.data / "models" / name
        if not folder.is_dir():
            raise Skip(f"{folder} is not there")
        return folder

    def benchmark(self, model, methods, *flags):
        """The results of `veloxquant benchmark`, by method; 'unquantized' is the reference row."""
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder) / "out.json"
            text = self.data / "text" / "val.txt"
            command = [self.build / "veloxquant", "benchmark", "--model", self.model(model), "--method", methods,
                       "--text", text, "--quiet", "--output", output, *flags]
            start = time.monotonic()
            subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
            report = json.loads(output.read_text())
        results = {r["spec"]: r for r in report["results"]}
        results["seconds"] = time.monotonic() - start
        return results

    def tests(self, program, pattern):
        """Runs the tests of one program whose names match; every one must pass and none be skipped."""
        run = subprocess.run([str(self.build / "tests" / program), f"--gtest_filter={pattern}", "--gtest_brief=1"],
                             capture_output=True, text=True, check=False)
        if "SKIPPED" in run.stdout:
            raise Skip("the tests skip: data is not there")
        return run.returncode == 0 and "0 tests from 0" not in run.stdout, run.stdout

    def google_benchmark(self, pattern):
        """Median time in seconds per counter name, of the micro-benchmarks that match."""
        run = subprocess.run([str(self.build / "bench" / "velox_bench"), f"--benchmark_filter={pattern}",
                              "--benchmark_repetitions=5", "--benchmark_format=json",
                              "--benchmark_report_aggregates_only=true"], capture_output=True, text=True, check=True)
        return {b["run_name"]: b for b in json.loads(run.stdout)["benchmarks"] if b["aggregate_name"] == "median"}

    # How it is judged ------------------------------------------------------------------------------------------------

    def row(self, what, measured, bar, good):
        self.rows.append((what, measured, bar, "met" if good else "MISSED"))
        print(f"  {what:58} {measured:>22}  {bar:28} {'met' if good else 'MISSED'}", flush=True)

    def between(self, what, value, low, high, form="{:.4f}"):
        if value is None:
            self.row(what, "not measured", f"{low} to {high}", False)
        else:
            self.row(what, form.format(value), f"{form.format(low)} to {form.format(high)}", low <= value <= high)

    def at_most(self, what, value, high, form="{:.4f}"):
        measured = "not measured" if value is None else form.format(value)
        self.row(what, measured, "at most " + form.format(high), value is not None and value <= high)

    def at_least(self, what, value, low, form="{:.4f}"):
        measured = "not measured" if value is None else form.format(value)
        self.row(what, measured, "at least " + form.format(low), value is not None and value >= low)

    def passing(self, what, program, pattern):
        good, output = self.tests(program, pattern)
        self.row(what, "tests pass" if good else "tests FAIL", "tests pass", good)
        if not good:
            print(output)


def perplexity(v):
    """Unquantized perplexity of the probe models."""
    for name, windows, wanted in (("probe-6m-llama", 4, 9.6507), ("probe-6m-qwen3", 4, 9.2492), ("probe-32m-llama", 16, 5.4522)):
        for arithmetic, tolerance in (("fp32", 0.003), ("bf16", 0.02)):
            r = v.benchmark(name, "fp16", "--no-baselines", "--windows", windows, "--recall", "0", "--num-runs", "1",
                            "--arithmetic", arithmetic)
            v.between(f"{name}, {arithmetic}, {windows} windows: perplexity", r["unquantized"]["perplexity"],
                      wanted - tolerance, wanted + tolerance)


def quality(v):
    """KL and recall of the rotated methods on probe-32m-llama, 16 windows."""
    methods = [f"turboquant_mse:{b}" for b in (2, 3, 4)] + [f"turboquant_mse:{b}:scale=one" for b in (2, 3, 4)]
    methods += ["trellis:2", "trellis:3"]
    r = v.benchmark("probe-32m-llama", ",".join(methods), "--no-baselines", "--windows", "16", "--recall", "0",
                    "--num-runs", "1")
    asked = v.benchmark("probe-32m-llama", "trellis:2,trellis:3", "--no-baselines", "--windows", "1", "--recall", "40",
                        "--num-runs", "1")
    for bits, unbiased, one in ((2, .213, .297), (3, .0487, .0636), (4, .0127, .0156)):
        v.between(f"turboquant_mse:{bits} unbiased, KL", r[f"turboquant_mse:{bits}"]["kl"], .9 * unbiased, 1.1 * unbiased)
        v.between(f"turboquant_mse:{bits} scale one, KL", r[f"turboquant_mse:{bits}:scale=one"]["kl"], .9 * one, 1.1 * one)
    for bits, kl, recall in ((2, .135, .74), (3, .031, .93)):
        v.at_most(f"trellis:{bits}, KL", r[f"trellis:{bits}"]["kl"], kl)
        v.at_least(f"trellis:{bits}, recall (unquantized {asked['unquantized']['recall']:.3f})",
                   asked[f"trellis:{bits}"]["recall"], recall, "{:.3f}")


def speed(v):
    """Time of a whole benchmark, decode speed, packed against fp16 at 16,384 tokens."""
    r = v.benchmark("probe-32m-llama", "trellis:2", "--windows", "4", "--recall", "8")
    v.at_most("benchmark with baselines, 4 windows, 8 recall: minutes", r["seconds"] / 60, 6, "{:.2f}")
    r = v.benchmark("probe-32m-llama", "fp16", "--no-baselines", "--windows", "1", "--seq-len", "16", "--recall", "0",
                    "--threads", "1", "--arithmetic", "auto")
    v.at_least("probe-32m-llama, one core, empty context: tokens/s", r["fp16:16"]["decode_tokens_per_s"], 150, "{:.0f}")
    r = v.benchmark("probe-32m-llama", "fp16,turboquant_mse:4,trellis:2", "--no-baselines", "--windows", "1", "--seq-len",
                    "16384", "--recall", "0", "--num-runs", "5")
    base = r["fp16:16"]["decode_tokens_per_s"]
    for method in ("turboquant_mse:4", "trellis:2"):
        v.at_least(f"{method} at 16,384 tokens: decode speed / fp16's", ratio(r[method]["decode_tokens_per_s"], base), 1, "{:.2f}")


def memory(v):
    """Peak memory of a run with a packed cache against fp16, and bytes held."""
    for length in (512, 4096, 16384, 32768):
        if length > 4096 and v.quick:
            continue
        methods = "fp16,turboquant_mse:4,trellis:2" + (",trellis:1" if length == 16384 else "")
        r = v.benchmark("probe-32m-llama", methods, "--no-baselines", "--windows", "1", "--seq-len", length,
                        "--recall", "0", "--num-runs", "1")
        for method in ("turboquant_mse:4", "trellis:2"):
            v.at_most(f"{method}, {length} tokens: peak memory / fp16's",
                      ratio(r[method]["peak_bytes"], r["fp16:16"]["peak_bytes"]), 1, "{:.3f}")
        if length == 16384:
            for method in ("fp16:16", "turboquant_mse:4", "trellis:2", "trellis:1"):
                v.between(f"{method}, {length} tokens: process growth / bytes reported",
                          ratio(r[method]["resident_measured"], r[method]["resident_bytes"]), .98, 1.02)
        if length == 4096:
            elements = 2 * 8 * 2 * 128 * 4096
            v.at_most("turboquant_mse:4, 4,096 tokens: bits per element held",
                      ratio(r["turboquant_mse:4"]["resident_bytes"], elements / 8), 4.2, "{:.3f}")


def encoding(v):
    """Trellis encoding speed."""
    r = v.google_benchmark("encode/trellis:2$")
    v.at_most("trellis:2, 128 coordinates: microseconds a vector", next(iter(r.values()))["us_per_vector"], 5, "{:.2f}")


def laws(v):
    """What the tests assert."""
    v.passing("tokenizer: val.txt and every case", "models_tokenizer/models_tokenizer_tests", "*")
    v.passing("models against their fixtures and transformers", "models/models_test", "*")
    v.passing("codes: the definition, head sizes, refusals", "codebook/codebook_test", "*")
    v.passing("distortion, theory from both sides", "codebook/distortion_test", "*")
    v.passing("trellis: distortion, vector search = scalar search", "codebook_trellis/codebook_trellis_test", "*")
    v.passing("transforms: orthogonal, the same bits on every CPU level", "transform/transform_test", "*")
    v.passing("attention on codes against double precision", "attention/attention_tests", "*")
    v.passing("bytes reported = bytes held, chunks, threads", "cache/cache_test", "*")
    v.passing("malformed files, truncation, bit flips", "io/io_test", "*")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared")
    parser.add_argument("--quick", action="store_true", help="only what takes seconds")
    parser.add_argument("--only", help="checks whose name has this word")
    args = parser.parse_args()
    v = Verifier(args.build, args.data, args.quick)
    for check in (laws, encoding, memory) if args.quick else (laws, encoding, memory, perplexity, quality, speed):
        if args.only and args.only not in check.__name__:
            continue
        print(f"{check.__name__}: {check.__doc__}", flush=True)
        try:
            check(v)
        except Skip as reason:
            print(f"  skipped: {reason}", flush=True)
        except subprocess.CalledProcessError as error:
            v.row(check.__name__, f"exit code {error.returncode}", "runs", False)
            print(error.stderr or "", file=sys.stderr)
    missed = sum(row[3] == "MISSED" for row in v.rows)
    print(f"{len(v.rows) - missed} passed, {missed} failed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
