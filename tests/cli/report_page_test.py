#!/usr/bin/env python3
"""Looks at the benchmark's HTML report with a headless browser: what a person would see.

    report_page_test.py COMMAND MODEL

Exit code 77 (skipped) where there is no Chromium.
"""
import html.parser
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Run in the page: every label's rectangle, and whether anything hangs out of its plot.
PROBE = """
<script>
addEventListener('load', () => {
  const found = { overlaps: [], outside: [], marks: 0, plots: document.querySelectorAll('svg').length };
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const labels = [...svg.querySelectorAll('.label')].map(e => [e.textContent, e.getBoundingClientRect()]);
    found.marks += svg.querySelectorAll('.mark').length;
    for (const [text, r] of [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]))
      if (r.left < frame.left - 2 || r.right > frame.right + 2 || r.top < frame.top - 2 || r.bottom > frame.bottom + 2)
        found.outside.push(text);
    for (let i = 0; i < labels.length; ++i)
      for (let j = i + 1; j < labels.length; ++j) {
        const [a, b] = [labels[i][1], labels[j][1]];
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
          found.overlaps.push(labels[i][0] + ' / ' + labels[j][0]);
      }
  }
  document.body.innerHTML = '<pre id="found">' + JSON.stringify(found) + '</pre>';
});
</script>
"""


class Found(html.parser.HTMLParser):
    inside, text = False, ""

    def handle_starttag(self, tag, attributes):
        self.inside = self.inside or ("id", "found") in attributes

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "pre"

    def handle_data(self, data):
        self.text += data if self.inside else ""


def browse(browser, page, *flags):
    return subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1300,1800", *flags,
                           page.as_uri()], capture_output=True, text=True, check=True, timeout=120).stdout


def main():
    command, model = sys.argv[1:]
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("skipped: there is no Chromium")
        return 77
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        page, output = folder / "report.html", folder / "report.json"
        subprocess.run([command, "benchmark", "--model", model, "--method", "trellis:2,trellis:3,turboquant_mse:2",
                        "--seq-len", "320", "--windows", "2", "--recall", "1", "--num-runs", "1", "--quiet", "--report", page,
                        "--output", output], check=True, stdout=subprocess.DEVNULL)
        text = page.read_text()
        assert "<script" not in text and "http" not in text, "the page stands alone"
        for result in json.loads(output.read_text())["results"]:
            assert result["spec"] in text, f"{result['spec']} is on the page"
            if result["kl"]:
                assert f"KL {result['kl']:.4g}" in text, f"the KL of {result['spec']} is on the page"

        probed = folder / "probed.html"
        probed.write_text(text.replace("</body>", PROBE + "</body>"))
        parser = Found()
        parser.feed(browse(browser, probed, "--dump-dom"))
        found = json.loads(parser.text)
        print(found)
        assert found["plots"] == 4 and found["marks"] > 20, "four plots with their marks"
        assert not found["overlaps"], "no label lies over another"
        assert not found["outside"], "nothing hangs out of its plot"

        picture = folder / "report.png"
        browse(browser, page, f"--screenshot={picture}")
        assert picture.stat().st_size > 50_000, "the page is not blank"
    return 0


if __name__ == "__main__":
    sys.exit(main())
