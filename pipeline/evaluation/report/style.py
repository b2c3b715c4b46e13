"""The page's style sheet: dark on white, calm, for screens from 800 px and for A4."""

from __future__ import annotations

CSS = """
:root { --ink: #1c2733; --soft: #51606f; --rule: #d9dfe5; --paper: #fff; --tint: #f4f6f8;
  --first: #7d8b99; --second: #1d5c96; --third: #1f7a5c; --bad: #a8321f; --good: #1f6b4a; --warn: #8a5a00; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
:lang(ja) body, body:lang(ja) { line-height: 1.75; font-family: "Hiragino Sans", "Noto Sans JP",
  "Noto Sans CJK JP", "Yu Gothic", Meiryo, system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 20px; line-height: 1.3; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 0 0 6px; }
p { margin: 0 0 12px; max-width: 78ch; }
:lang(ja) p { max-width: 46em; }
.subtitle, .note { color: var(--soft); font-size: 14px; overflow-wrap: anywhere; }
.verdict { margin: 24px 0 20px; padding: 18px 22px; border-left: 6px solid; background: var(--tint); }
.verdict p { max-width: none; margin: 0; }
.verdict p + p { margin-top: 6px; color: var(--soft); }
.verdict .main { font-size: 19px; font-weight: 600; line-height: 1.45; color: var(--ink); }
.verdict.ready { border-color: var(--good); } .verdict.wait { border-color: var(--warn); }
.verdict.stop { border-color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin: 0 0 20px; }
.lead { font-weight: 600; }
.tile { border: 1px solid var(--rule); border-radius: 6px; padding: 12px 14px; }
.tile .what { font-size: 13px; color: var(--soft); } .tile .range { font-size: 13px; color: var(--soft); }
.tile .value { font-size: 24px; font-weight: 650; line-height: 1.3; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
section { border-top: 1px solid var(--rule); padding: 28px 0 20px; }
.pair { display: grid; grid-template-columns: minmax(0, 500px) minmax(0, 1fr); gap: 20px 36px; align-items: start; }
.pair.even { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair.square { grid-template-columns: minmax(0, 380px) minmax(0, 1fr); }
figure { margin: 0; min-width: 0; } figcaption { font-weight: 600; font-size: 15px; margin-bottom: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
th, td { text-align: right; padding: 6px 0 6px 14px; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; line-height: 1.35; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: break-word; }
td .range { display: block; color: var(--soft); font-size: 13px; white-space: nowrap; }
.tag { font-size: 12px; padding: 1px 7px; border-radius: 9px; white-space: nowrap;
  color: var(--soft); border: 1px solid var(--rule); }
.tag.defect { color: var(--bad); border-color: #e3b9b1; } .tag.good { color: var(--good); border-color: #b4d6c6; }
table + p, .pair + p, p + table, .after { margin-top: 14px; }
svg { display: block; max-width: 100%; height: auto; font-size: 13px; }
svg text { fill: var(--ink); font-family: inherit; } svg text.tick { fill: var(--soft); font-size: 12px; }
svg text.strong { font-weight: 650; } svg text.light { fill: #fff; }
.axis { stroke: #aeb8c2; stroke-width: 1; }
.grid { stroke: #e6eaee; stroke-width: 1; } .ideal { stroke: var(--first); stroke-dasharray: 5 4; }
.whisker { stroke-width: 2; } .range { stroke: var(--ink); stroke-width: 1.3; }
rect.first, circle.first { fill: var(--first); } rect.second, circle.second { fill: var(--second); }
rect.third, circle.third { fill: var(--third); } circle.guess { fill: #fff; stroke: var(--second); stroke-width: 2; }
.whisker.first { stroke: var(--first); } .whisker.second { stroke: var(--second); }
.whisker.third { stroke: var(--third); } .whisker.guess { stroke: var(--second); stroke-dasharray: 3 3; }
.trace { fill: none; stroke: var(--second); stroke-width: 2; } .guessed { stroke-dasharray: 5 4; }
.cell.empty { fill: var(--tint); }
.cell.right { fill: var(--second); } .cell.wrong { fill: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 18px; }
.card { border: 1px solid var(--rule); border-radius: 6px; overflow: hidden; min-width: 0; }
.card img { display: block; width: 100%; height: 220px; object-fit: contain; background: #e9edf1; }
.card .body { padding: 12px 16px 14px; font-size: 14px; overflow-wrap: anywhere; }
.card p { margin: 0 0 8px; } .card h3 { font-size: 16px; }
.reasons { list-style: none; margin: 0 0 8px; padding: 0; }
.reasons li { display: flex; gap: 10px; justify-content: space-between; padding: 3px 0; align-items: center;
  border-bottom: 1px solid var(--rule); }
.reasons .what { flex: 1; min-width: 0; }
.reasons .much { font-variant-numeric: tabular-nums; white-space: nowrap; }
.reasons .pro { color: var(--bad); } .reasons .contra { color: var(--soft); }
.card .reasons img { width: 44px; height: 34px; border-radius: 3px; flex: none; }
code { font-size: 13px; background: var(--tint); padding: 1px 5px; border-radius: 3px; overflow-wrap: anywhere; }
@media (max-width: 1000px) { .tiles { grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); }
  .tile { padding: 10px; } .tile .value { font-size: 19px; } }
@media (max-width: 900px) { .pair, .pair.square { grid-template-columns: minmax(0, 1fr); } main { padding: 28px 22px; }
  #classes td .range { white-space: normal; } .range span { white-space: nowrap; } th, td { padding-left: 10px; }
  .pair.even { grid-template-columns: minmax(0, 1fr); } }
@page { size: A4; margin: 14mm; }
@media print { body { font-size: 11pt; } main { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, figcaption { break-after: avoid; } figure, .card, tr, .verdict, .tiles { break-inside: avoid; }
  .pair, .pair.square { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .pair.even { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 8px; } .tile { padding: 8px 10px; }
  .tile .value { font-size: 14pt; white-space: normal; } table { font-size: 9pt; } th, td { padding-left: 8px; }
  td .range, #classes td .range { font-size: 8pt; white-space: normal; }
  .cards { grid-template-columns: 1fr 1fr; } .card img { height: 150px; } .card .reasons img { height: 34px; } }
"""
