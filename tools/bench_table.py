#!/usr/bin/env python3
"""Renders the figures of `make bench BENCH_JSON=FILE` as markdown.

    tools/bench_table.py FILE               prints the tables
    tools/bench_table.py FILE docs/performance.md
                                            puts them between the page's two marks
"""
import itertools
import json
import pathlib
import sys

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join(["---"] * 2 + ["---:"] * (len(titles) - 2)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def shape(row):
    return row["q_heads"], row["kv_heads"], row["head_dim"]


def heads(row):
    return f"{row['q_heads']} query heads on {row['kv_heads']} KV heads of {row['head_dim']}"


def groups(rows):
    """Rows by shape of the layer, in the order of their first rows."""
    for key in dict.fromkeys(map(shape, rows)):
        yield [row for row in rows if shape(row) == key]


def decode(rows):
    """One line for keys, values and length; figures of every number of threads beside each other."""
    threads = sorted({row["threads"] for row in rows})
    titles = ["keys", "values", "tokens", "B/token"]
    for n in threads:
        titles += [f"ms, {n} T", "GB/s", "of stream", "time/f16"]
    lines = []
    key = lambda row: (row["tokens"], row["k"], row["v"])
    order = sorted({row["tokens"] for row in rows})
    for tokens in order:
        for _, same in itertools.groupby([r for r in rows if r["tokens"] == tokens], key=key):
            same = {row["threads"]: row for row in same}
            first = next(iter(same.values()))
            line = [first["k"], first["v"], f"{tokens:,}", number(first["bytes_per_token"], 0)]
            for n in threads:
                row = same.get(n)
                line += ["-"] * 4 if row is None else [
                    number(row["ms"], 3), number(row["gb_per_s"], 1), f"{100 * row['share_of_stream']:.0f} %",
                    number(row["ratio_to_f16"], 2)]
            lines.append(line)
    return table(titles, lines)


def render(report):
    environment = report["environment"]
    parts = ["Measured on " + ", ".join(f"{key} {environment[key]}" for key in
                                        ("cpu", "cpu_level", "processors", "kernel", "compiler", "version", "date")) + "."]
    disturbed = [row for row in report["results"] if row["clean_samples"] < 3]
    if disturbed:
        parts.append(f"In {len(disturbed)} of {len(report['results'])} rows fewer than three samples were clean.")
    for rows in groups(report["results"]):
        parts += [f"### One decode step of a layer, {heads(rows[0])}", decode(rows)]
    if report["prefill"]:
        first = report["prefill"][0]
        parts += [f"### {first['new_tokens']:,} new tokens on {first['tokens']:,}, {heads(first)}, {first['threads']} threads",
                  table(["keys", "values", "append ms", "attend ms", "time/f16"],
                        [[row["k"], row["v"], number(row["append_ms"], 1), number(row["attend_ms"], 0),
                          number(row["ratio_to_f16"], 2)] for row in report["prefill"]])]
    if report["append"]:
        parts += [f"### Appending, microseconds a vector of {report['append'][0]['head_dim']} on one thread",
                  table(["keys", "values", "512 tokens a call", "one token a call"],
                        [[row["k"], row["v"], number(row["us_per_vector"], 3), number(row["us_per_vector_single"], 3)]
                         for row in report["append"]])]
    return "\n\n".join(parts)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    text = render(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    if len(sys.argv) == 2:
        print(text)
        return
    page = pathlib.Path(sys.argv[2])
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
