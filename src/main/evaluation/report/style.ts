/** The one style sheet of a report: light and dark by the reader's preference, plain in print. No fonts, no images from outside. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --raised: #f7f7f5; --ink: #1d2125; --soft: #5f6770; --line: #e2e3e0; --strong: #b9bcb8;
  --good: #1f7a4d; --bad: #a8442f;
  --s0: #64748b; --s1: #2468b4; --s2: #c2571a; --s3: #2d8659; --s4: #8a4fb0; --s5: #a6790a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --raised: #1d2024; --ink: #e3e5e7; --soft: #9aa2ab; --line: #2c3035; --strong: #4a5058;
    --good: #63c08f; --bad: #e38b73;
    --s0: #94a3b8; --s1: #6ea8e8; --s2: #ec9160; --s3: #62bd8d; --s4: #bd8fe0; --s5: #d9b24a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; font-weight: 650; }
h2 { font-size: 1.1rem; margin: 2.75rem 0 .75rem; padding-top: .6rem; border-top: 1px solid var(--strong); font-weight: 650; }
h3 { font-size: .95rem; margin: 1.5rem 0 .5rem; font-weight: 650; }
p { margin: .4rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); }
.findings { padding-left: 1.1rem; margin: .75rem 0; }
.findings li { margin: .2rem 0; }
.yes::marker { color: var(--good); } .no::marker { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.35; }
.wide { width: 100%; }
caption { text-align: left; padding-bottom: .4rem; font-size: .82rem; }
th, td { padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; border-bottom-color: var(--strong); vertical-align: bottom; }
tbody th { font-weight: 500; }
td.n, th.n { text-align: right; white-space: nowrap; }
tr > :last-child { padding-right: 0; }
tr:has(+ .first) > * { border-bottom-color: var(--strong); }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 1.2rem; }
.unit-note { display: block; font-size: .75rem; font-weight: 400; }
figure { margin: 0; min-width: 0; }
figure.full { margin: 1.25rem 0; overflow-x: auto; }
figure.full svg { min-width: 38rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 0 2rem; }
.charts figure { display: grid; grid-row: span 3; grid-template-rows: subgrid; margin-bottom: 1.25rem; align-content: start; }
figcaption { font-size: .82rem; margin-bottom: .2rem; line-height: 1.4; }
figcaption b { color: var(--ink); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.swatch { display: inline-block; width: .9rem; height: 3px; border-radius: 2px; vertical-align: middle; margin-right: .35rem; background: currentColor; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg text { fill: var(--ink); }
svg .tick, svg .unit { fill: var(--soft); font-size: 10.5px; }
svg .group { font-weight: 600; font-size: 12.5px; } svg .name, svg .value { font-size: 12.5px; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--strong); stroke-width: 1; }
svg .line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
svg .mark, svg .dot { fill: currentColor; } svg .band { fill: currentColor; opacity: .14; }
svg .interval { stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; } svg .run { stroke: currentColor; stroke-width: 1.2; opacity: .4; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); } .s4 { color: var(--s4); } .s5 { color: var(--s5); }
details { font-size: .82rem; margin-top: .25rem; }
summary { cursor: pointer; color: var(--soft); width: max-content; }
details .scroll { max-height: 18rem; overflow: auto; margin-top: .35rem; }
article { margin: 1.25rem 0 2rem; }
.task { background: var(--raised); padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 .75rem; max-width: none; border-radius: 4px; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: 1rem 1.5rem; align-items: start; }
.side h4 { font-size: .86rem; margin: 0; font-weight: 600; }
.side .about { font-size: .8rem; color: var(--soft); margin: 0 0 .4rem; }
.correct { color: var(--good); } .wrong, .unreadable { color: var(--bad); }
.thinking, .answer, pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font-size: .82rem; line-height: 1.45; }
.thinking { color: var(--soft); border-left: 2px solid var(--line); padding-left: .7rem; max-height: 24rem; overflow: auto; }
.answer { padding: .5rem 0 0 .8rem; font-weight: 500; }
pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; background: var(--raised); padding: .7rem .9rem; border-radius: 4px; font-size: .78rem; }
details pre { margin-top: .35rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; font-size: .86rem; margin: .5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } .thinking, details .scroll { max-height: none; } figure, article { break-inside: avoid; } }
`
