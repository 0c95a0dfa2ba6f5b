"""The history of the graph at scale: runs graph_scale_bench for one size or several, and draws how the figures grow."""

import json
import math
import pathlib
import subprocess
import tempfile

SIZES = {100: 100_000, 1000: 1_000_000, 10_000: 10_000_000, 100_000: 10_000_000}  # services: versions
TARGETS = {"graph.snapshot_ms": 50, "graph.node_us": 50, "graph.bytes_per_edge": 250, "graph.start_ms": 10_000}
# name: (target, title in the drawing)
DRAWN = {
    "graph.snapshot_cpu_ms": (50, "snapshot at any instant, CPU, p99, ms"),
    "graph.node_us_p50": (50, "one node or edge at any instant, p50, µs"),
    "graph.bytes_per_edge": (250, "memory, bytes a live edge"),
    "graph.start_ms": (10_000, "start from disk, ms"),
}


def run(program, services, versions):
    """{name: value} of a production of that size, in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="graph-scale-") as folder:
        lines = []
        for mode in ([], ["start"]):
            done = subprocess.run([program, str(services), str(versions), folder, *mode], stdout=subprocess.PIPE, text=True,
                                  timeout=1800, check=True)
            lines += [json.loads(line) for line in done.stdout.splitlines()]
        return {line["name"]: (line["value"], line["unit"]) for line in lines}


def table(rows):
    """The sweep in Markdown: a line a size."""
    columns = ["graph.live_edges", "graph.versions", "graph.snapshot_ms_p50", "graph.snapshot_ms", "graph.snapshot_cpu_ms_p50",
               "graph.node_us_p50", "graph.node_us", "graph.bytes_per_edge", "graph.start_ms", "graph.version_us",
               "graph.disk_bytes_per_version"]
    heads = [name.removeprefix("graph.").replace("_", " ") for name in columns]
    out = ["| services | " + " | ".join(heads) + " |", "|" + "---|" * (len(columns) + 1)]
    for services, row in rows.items():
        out.append(f"| {services:,} | " + " | ".join(f"{row[name][0]:,.4g}" for name in columns) + " |")
    return "\n".join(out)


def drawing(rows):
    """Both axes logarithmic: one small diagram a figure, with its target as a dashed line."""
    width, height, margin = 340, 210, 44
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {2 * height}" font-family="sans-serif" font-size="11">',
             "<style>text{fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>"]
    services = list(rows)
    for number, (name, (target, title)) in enumerate(DRAWN.items()):
        left, top = number % 2 * width, number // 2 * height
        values = [rows[size][name][0] for size in services]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max([*values, target])) + 0.01)

        def x(size):
            span = math.log10(services[-1] / services[0]) or 1
            return left + margin + (width - 2 * margin) * math.log10(size / services[0]) / span

        def y(value):
            return top + height - margin + 12 - (height - 2 * margin) * (math.log10(value) - low) / (high - low)

        parts.append(f'<text x="{left + margin}" y="{top + 22}" font-weight="bold">{title}</text>')
        for power in range(low, high + 1):
            parts.append(f'<line x1="{left + margin}" x2="{left + width - margin}" y1="{y(10 ** power):.1f}" y2="{y(10 ** power):.1f}" '
                         f'stroke="#8884"/><text x="{left + margin - 4}" y="{y(10 ** power) + 4:.1f}" text-anchor="end">{10 ** power:g}</text>')
        parts.append(f'<line x1="{left + margin}" x2="{left + width - margin}" y1="{y(target):.1f}" y2="{y(target):.1f}" stroke="#c33" '
                     f'stroke-dasharray="5 4"/>')
        points = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in zip(services, values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="#27c" stroke-width="2"/>')
        for size, value in zip(services, values):
            parts.append(f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="#27c"/>'
                         f'<text x="{x(size):.1f}" y="{top + height - 14}" text-anchor="middle">{size:,}</text>')
    parts.append(f'<text x="{width}" y="{2 * height - 1}" text-anchor="middle">services; 20 edges each; dashed: the aim at 10,000</text></svg>')
    return "\n".join(parts) + "\n"


def sweep(program, folder, progress):
    """All sizes; writes graph-scale.svg and graph-scale.md into the folder."""
    rows = {}
    for services, versions in SIZES.items():
        progress(f"graph-scale: {services:,} services, {versions:,} versions")
        rows[services] = run(program, services, versions)
    folder = pathlib.Path(folder)
    (folder / "graph-scale.svg").write_text(drawing(rows))
    (folder / "graph-scale.md").write_text(table(rows) + "\n")
    return rows
