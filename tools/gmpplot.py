# SPDX-License-Identifier: MIT
"""Plots as SVG and pages as HTML for the reports of the tools: text in, text out, nothing but Python's own library.

A chart is an <svg> element of its own width and height; page() puts charts, tables and text into one self-contained
file, picture() puts charts side by side into one SVG. What is drawn together by name keeps its colour in all charts.
"""
import html
import math

WIDTH, HEIGHT = 460, 200
LEFT, RIGHT, TOP, BOTTOM = 60, 10, 24, 24
BAR = 22  # height of one row of bars()
COLOURS = {'NPTL': '#b3541e', 'shim': '#1e66b3', 'Go': '#2a9d5c', 'epoll': '#7a5195'}
OTHERS = ('#b8860b', '#c2337a', '#4c5a67', '#5b8c1f', '#8b4a9c')
STYLE = (':root{color-scheme:light dark}'  # the reader's choice: greys that are seen on white and on black
         'body{font:14px sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}'
         'table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #8888;padding:3px 8px;text-align:right}'
         'td:first-child,th:first-child{text-align:left}'
         'svg{font:11px sans-serif;margin:6px 0;max-width:100%;height:auto;vertical-align:top}'
         'svg text{fill:currentColor}svg line{stroke:#8886}code,pre{background:#8882}')


def colour(name):
    """Known names have theirs, others get one by their order of appearance."""
    if name not in COLOURS:
        COLOURS[name] = OTHERS[(len(COLOURS) - 4) % len(OTHERS)]
    return COLOURS[name]


def _svg(width, height, title, parts):
    return (f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
            f'<text x="4" y="14">{html.escape(title)}</text>' + ''.join(parts) + '</svg>')


def _text(x, y, text, anchor='start'):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(str(text))}</text>'


def _round_up(value):
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten: the top of an axis."""
    if value <= 0:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value * 0.9999)


def short(value):
    """A number for an axis: 2.5k, 1M."""
    for limit, unit in ((1e9, 'G'), (1e6, 'M'), (1e4, 'k')):
        if abs(value) >= limit:
            return f'{value / (1e3 if unit == "k" else limit):.4g}{unit}'
    return f'{value:.4g}'


def lines(title, series, x_unit='s', log_x=False, dots=False, x_labels=True, width=WIDTH, height=HEIGHT):
    """Curves; series: [(name, [(x, y)])]; one name may come several times."""
    points = [p for _, line in series for p in line]
    xs = [x for x, _ in points if x > 0 or not log_x]
    low = min(xs) if log_x and xs else 0
    high = max(xs, default=1)
    top = _round_up(max((y for _, y in points), default=1))
    w, h = width - LEFT - RIGHT, height - TOP - BOTTOM

    def across(x):
        if log_x:
            return LEFT + (math.log(x / low) / math.log(high / low) * w if high > low else w / 2)
        return LEFT + (x / high * w if high else 0)

    parts = []
    for share in (0, 0.5, 1):
        y = TOP + h - share * h
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + w}" y1="{y}" y2="{y}" stroke="#ddd"/>' +
                     _text(LEFT - 6, y + 4, short(top * share), 'end'))
    if log_x:
        for x in sorted(set(xs)):
            anchor = 'start' if x == low else 'end' if x == high else 'middle'
            parts.append(_text(across(x), height - 6, short(x), anchor))
    elif x_labels:
        parts.append(_text(LEFT + w, height - 6, f'{high:.1f} {x_unit}', 'end'))
    for name, line in series:
        at = [(across(x), TOP + h - y / top * h) for x, y in line if x > 0 or not log_x]
        parts.append(f'<polyline fill="none" stroke="{colour(name)}" stroke-width="1.5" points="' +
                     ' '.join(f'{x:.1f},{y:.1f}' for x, y in at) + '"/>')
        if dots or len(at) == 1:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour(name)}"/>' for x, y in at]
    return _svg(width, height, title, parts)


def bars(title, rows, form='.0f', width=WIDTH, label_width=70):
    """Horizontal bars; rows: [(label, value, name whose colour it has)], all on one scale."""
    top = max((value for _, value, _ in rows), default=0) or 1
    room = width - label_width - 60
    parts = []
    for i, (label, value, name) in enumerate(rows):
        y, long = BAR * i + TOP, value / top * room
        parts.append(_text(4, y + 14, label) + f'<rect x="{label_width}" y="{y}" width="{long:.1f}" height="{BAR - 4}" '
                     f'fill="{colour(name)}"/>' + _text(label_width + 6 + long, y + 14, f'{value:{form}}'))
    return _svg(width, BAR * len(rows) + TOP + 2, title, parts)


def legend(names):
    """For a page."""
    return '<p>' + ' '.join(f'<span style="color:{colour(n)}">&#9632; {html.escape(n)}</span>' for n in names) + '</p>'


def table(head, rows):
    """Cells are plain text."""
    def row(cells, kind):
        return '<tr>' + ''.join(f'<{kind}>{html.escape(str(c))}</{kind}>' for c in cells) + '</tr>'

    return '<table>' + row(head, 'th') + ''.join(row(r, 'td') for r in rows) + '</table>'


def _size(svg):
    words = svg.split('"', 4)
    return int(words[1]), int(words[3])


def picture(charts, columns=2):
    """The charts as one SVG file, so many in a row."""
    parts, y, width = [], 0, 0
    for first in range(0, len(charts), columns):
        row, x = charts[first:first + columns], 0
        for chart in row:
            parts.append(chart.replace('<svg', f'<svg x="{x}" y="{y}"', 1))
            x += _size(chart)[0]
        width = max(width, x)
        y += max(_size(chart)[1] for chart in row)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">'
            '<style>svg{font:11px sans-serif}</style><rect width="100%" height="100%" fill="white"/>\n' +
            '\n'.join(parts) + '</svg>\n')


def page(title, body):
    """A whole HTML file around pieces of HTML."""
    return ('<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>' + html.escape(title) + '</title><style>' +
            STYLE + '</style>\n' + '\n'.join(body) + '\n</html>\n')
