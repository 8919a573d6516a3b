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
  const found = { overlaps: [], on_lines: [], outside: [], cut: [], names: [], marks: 0,
                  plots: document.querySelectorAll('svg').length,
                  wider_than_the_window: document.documentElement.scrollWidth > innerWidth };
  for (const table of document.querySelectorAll('.wide'))
    if (table.scrollWidth > table.clientWidth) found.cut.push(table.textContent.slice(0, 40));
  for (const svg of document.querySelectorAll('svg')) {
    const frame = svg.getBoundingClientRect();
    const labels = [...svg.querySelectorAll('.label')].map(e => [e.firstChild.data, e.getBoundingClientRect()]);
    found.names.push(labels.map(l => l[0]));
    for (const line of svg.querySelectorAll('.line, .rule'))
      for (let at = 0; at < line.getTotalLength(); at += 2) {
        const p = line.getPointAtLength(at).matrixTransform(svg.getScreenCTM());
        for (const [text, r] of labels)
          if (p.x > r.left + 1 && p.x < r.right - 1 && p.y > r.top + 3 && p.y < r.bottom - 3)
            if (!found.on_lines.includes(text)) found.on_lines.push(text);
      }
    found.marks += svg.querySelectorAll('.mark').length;
    for (const [text, r] of [...svg.querySelectorAll('text')].map(e => [e.firstChild.data, e.getBoundingClientRect()]))
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
    return subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", *flags,
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

        assert "±" in text and "+-" not in text, "plus-minus signs are typeset"
        assert "<li><b>trellis:2</b>: 2.25 bits per element, 7.1 times less than fp16; KL " in text, "a verdict a method"

        probed = folder / "probed.html"
        # As on a screen of either width, and as on paper.
        for width, page_text in (1200, text), (700, text), (718, text.replace("@media print", "@media screen")):
            probed.write_text(page_text.replace("</body>", PROBE + "</body>"))
            parser = Found()
            parser.feed(browse(browser, probed, f"--window-size={width},2400", "--dump-dom"))
            found = json.loads(parser.text)
            print(width, found)
            assert found["plots"] == 4 and found["marks"] > 20, "four plots with their marks"
            assert not found["overlaps"], "no label lies over another"
            assert not found["on_lines"], "no label lies on a line"
            assert not found["outside"], "nothing hangs out of its plot"
            assert not found["cut"] and not found["wider_than_the_window"], "nothing is behind a scroll bar"
            rows = len(json.loads(output.read_text())["results"])
            assert len(found["names"][0]) == rows - 1, "every point of the first plot has its label"
            assert len(found["names"][2]) == rows, "every line of the memory plot has its name at its end"

        picture = folder / "report.png"
        browse(browser, page, f"--screenshot={picture}", "--window-size=1300,1800")
        assert picture.stat().st_size > 50_000, "the page is not blank"
    return 0


if __name__ == "__main__":
    sys.exit(main())
