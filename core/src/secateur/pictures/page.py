"""A drawing as one HTML file that needs nothing else: moved and zoomed by mouse, touch and keys, dark or light."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from secateur.pictures.colours import PAGE, QUIET

STYLE: Final = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #202124; --quiet: #5f6368; --line: #8a8f98; --rim: #bdc1c6; }
@media (prefers-color-scheme: dark) {
  :root { --page: #17181a; --ink: #e8eaed; --quiet: #a8adb4; --line: #8a8f98; --rim: #55595f; }
  .edge { filter: brightness(1.5); }
}
html, body { margin: 0; height: 100%; background: var(--page); color: var(--ink); overflow: hidden;
  font: 13px Helvetica, Arial, sans-serif; }
#view { position: fixed; inset: 0; touch-action: none; cursor: grab; }
#view.moving { cursor: grabbing; }
#view svg { position: absolute; transform-origin: 0 0; user-select: none; }
.graph > polygon[fill="white"] { fill: none; }
text[fill="PAGE"] { fill: var(--ink); }
text[fill="QUIET"] { fill: var(--quiet); }
.cluster path { stroke: var(--rim); }
.end path, .end text { fill: none; stroke: var(--line); }
.end text { fill: var(--quiet); stroke: none; }
nav { position: fixed; right: 12px; bottom: 12px; display: flex; gap: 4px; }
nav button { min-width: 34px; height: 34px; font: inherit; color: inherit; background: var(--page);
  border: 1px solid var(--rim); border-radius: 6px; cursor: pointer; }
@media print { nav { display: none; } html, body { overflow: visible; } #view { position: static; } }
"""

SCRIPT: Final = """
const view = document.getElementById('view'), svg = view.querySelector('svg');
const box = svg.viewBox.baseVal, fingers = new Map();
svg.setAttribute('width', box.width); svg.setAttribute('height', box.height);
let scale = 1, x = 0, y = 0;
const place = () => { svg.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
const fit = (whole) => {
  const wide = view.clientWidth / box.width, high = view.clientHeight / box.height;
  scale = whole ? Math.min(wide, high) : Math.min(1.5, Math.max(Math.min(wide, high), Math.min(wide, 1)));
  x = Math.max(0, (view.clientWidth - box.width * scale) / 2);
  y = Math.max(0, (view.clientHeight - box.height * scale) / 2);
  place();
};
const zoom = (by, cx = view.clientWidth / 2, cy = view.clientHeight / 2) => {
  const to = Math.min(8, Math.max(0.03, scale * by));
  x = cx - (cx - x) * to / scale; y = cy - (cy - y) * to / scale; scale = to; place();
};
view.addEventListener('wheel', (event) => {
  event.preventDefault();
  if (event.shiftKey) { x -= event.deltaX || event.deltaY; place(); }
  else zoom(Math.exp(-event.deltaY * 0.0015), event.clientX, event.clientY);
}, { passive: false });
view.addEventListener('pointerdown', (event) => {
  fingers.set(event.pointerId, event); view.setPointerCapture(event.pointerId); view.classList.add('moving');
});
view.addEventListener('pointermove', (event) => {
  const last = fingers.get(event.pointerId);
  if (!last) return;
  if (fingers.size === 1) { x += event.clientX - last.clientX; y += event.clientY - last.clientY; place(); }
  else {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const far = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
    zoom(far(event) / Math.max(1, far(last)), other.clientX, other.clientY);
  }
  fingers.set(event.pointerId, event);
});
for (const name of ['pointerup', 'pointercancel'])
  view.addEventListener(name, (event) => {
    fingers.delete(event.pointerId); if (!fingers.size) view.classList.remove('moving');
  });
const keys = { '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8), '0': () => fit(true),
  '1': () => fit(false), ArrowLeft: () => { x += 60; place(); }, ArrowRight: () => { x -= 60; place(); },
  ArrowUp: () => { y += 60; place(); }, ArrowDown: () => { y -= 60; place(); } };
addEventListener('keydown', (event) => {
  const act = event.ctrlKey || event.metaKey ? null : keys[event.key];
  if (act) { event.preventDefault(); act(); }
});
for (const button of document.querySelectorAll('nav button'))
  button.addEventListener('click', () => keys[button.dataset.key]());
addEventListener('resize', () => fit(false)); fit(false);
"""

BUTTONS: Final = (("+", "+", "zoom in"), ("-", "−", "zoom out"), ("1", "fit width", "fit"), ("0", "whole", "show all"))


def page_of(svg: str, title: str) -> str:
    """The HTML page that holds an SVG."""
    style = STYLE.replace("PAGE", PAGE.lower()).replace("QUIET", QUIET.lower())
    buttons = "".join(
        f'<button data-key="{key}" aria-label="{label}" title="{label} ({key})">{text}</button>'
        for key, text, label in BUTTONS
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<style>{style}</style>\n</head>\n<body>\n<div id="view">\n{inline(svg)}</div>\n<nav>{buttons}</nav>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def inline(svg: str) -> str:
    """An SVG without what only a file of its own needs."""
    return svg[svg.index("<svg") :]


def tidied(svg: str, title: str) -> str:
    """The SVG of Graphviz with titles that say something: what a mouse finds is the tooltip, not the name of a box."""
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<title>[^<]*</title>\n<g id="[^"]*"><a xlink:title="([^"]*)">\n(.*?)</a>\n</g>',
        lambda found: f"<title>{found[1]}</title>\n{found[2]}",
        svg,
        flags=re.DOTALL,
    )
    svg = re.sub(r"<title>(?:cluster_|in |out |p |n\d|legend|secateur)[^<]*</title>\n", "", svg)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(title)}" ', svg, count=1)
