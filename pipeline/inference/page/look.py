"""How the page looks: a style sheet on Gradio's variables.

The colours have a contrast of 4.5 with the dark text on them.
"""

STYLE = """
.ser-answer, .ser-title, .ser-problem, .ser-controls {
  --ser-1: #f0806a; --ser-2: #f2b134; --ser-3: #a3c14a; --ser-4: #5fc3a7;
  --ser-5: #7fa8f5; --ser-6: #bd9bf0; --ser-7: #f08fc0; --ser-8: #b4b8bf; --ser-0: #c9ccd2;
  color: var(--body-text-color); font-size: 16px; line-height: 1.4;
}
.ser-title h1 { font-size: 1.5rem; font-weight: 600; margin: 0; color: var(--body-text-color); }
.ser-title p { margin: .25rem 0 0; color: var(--body-text-color); opacity: .8; }
.ser-answer { display: flex; flex-direction: column; gap: 1rem; min-width: 0; }
.ser-answer > * { margin: 0; min-width: 0; }
.ser-headline { font-size: 1.1rem; }
.ser-headline strong { font-size: 1.75rem; margin-right: .25rem; }
.ser-headline span { opacity: .8; margin-left: .5rem; overflow-wrap: anywhere; }
.ser-both { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.ser-answer table { border-collapse: collapse; width: 100%; font-size: .9rem; }
.ser-answer caption { text-align: left; font-weight: 600; padding-bottom: .35rem; }
.ser-bars { flex: 1 1 260px; }
.ser-bars th { text-align: left; font-weight: 400; white-space: nowrap;
  padding: .15rem .75rem .15rem 0; }
.ser-bars td { width: 100%; padding: .15rem 0; }
.ser-bars .ser-number { width: auto; padding-left: .75rem; font-variant-numeric: tabular-nums; }
.ser-bar { display: block; height: .9rem; min-width: 2px; border-radius: 3px;
  background: var(--ser-c); }
.ser-square { flex: 0 1 280px; width: 100%; max-width: 280px; }
.ser-square rect { fill: var(--background-fill-secondary); stroke: currentColor;
  stroke-opacity: .45; }
.ser-square text { fill: currentColor; font-size: 14px; text-anchor: middle; }
.ser-cross { stroke: currentColor; stroke-opacity: .35; stroke-dasharray: 4 4; }
.ser-way { fill: none; stroke: currentColor; stroke-opacity: .45; }
.ser-dot { fill: currentColor; fill-opacity: .6; }
.ser-point { fill: var(--ser-1); stroke: var(--body-text-color); stroke-width: 2;
  transition: cx .4s, cy .4s; }
.ser-plot { position: relative; border: 1px solid var(--border-color-primary); border-radius: 6px;
  overflow: hidden; background: var(--background-fill-secondary); }
.ser-plot svg { display: block; width: 100%; }
.ser-wave { height: 84px; fill: currentColor; fill-opacity: .65; cursor: pointer; }
.ser-shares { height: 96px; }
.ser-shares rect { fill: var(--ser-c); }
.ser-curve { fill: none; stroke: var(--ser-c); stroke-width: 4; vector-effect: non-scaling-stroke; }
.ser-names { position: relative; height: 1.75rem; }
.ser-name { position: absolute; top: 0; bottom: 0; overflow: hidden; container-type: inline-size;
  background: var(--ser-c); border-right: 1px solid var(--background-fill-primary);
  cursor: pointer; }
.ser-name b { display: block; padding: .2rem .35rem; font-size: .85rem; font-weight: 400;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; color: #14161a; }
@container (max-width: 2.75rem) { .ser-name b:not(.ser-short) { display: none; } }
.ser-head { position: absolute; top: 0; bottom: 0; width: 2px; background: currentColor; }
.ser-head[hidden] { display: none; }
.ser-axis { position: relative; height: 1.4rem; font-size: .8rem; overflow: hidden; }
.ser-axis span { position: absolute; white-space: nowrap; }
.ser-legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; list-style: none; padding: 0;
  margin: .35rem 0 0; font-size: .85rem; }
.ser-legend li { margin: 0; padding: 0; list-style: none; }
.ser-legend li::before { content: ""; display: inline-block; width: .75rem; height: .75rem;
  border-radius: 3px; margin-right: .35rem; background: var(--ser-c); vertical-align: -1px; }
.ser-answer audio { width: 100%; }
.dark .ser-answer audio { color-scheme: dark; }
.ser-scroll { max-height: 20rem; overflow: auto; }
.ser-parts th, .ser-parts td { text-align: left; padding: .25rem .5rem .25rem 0;
  border-top: 1px solid var(--border-color-primary); font-variant-numeric: tabular-nums; }
.ser-parts tbody tr { cursor: pointer; }
.ser-parts tr[aria-current] { background: var(--background-fill-secondary); font-weight: 600; }
.ser-play { min-width: 2.5rem; min-height: 2rem; border-radius: 6px; color: inherit;
  cursor: pointer; border: 1px solid var(--border-color-primary);
  background: var(--background-fill-secondary); }
.ser-downloads { display: flex; flex-wrap: wrap; gap: .5rem; }
.ser-download { padding: .5rem .9rem; border-radius: 6px;
  border: 1px solid var(--border-color-primary); color: var(--body-text-color) !important;
  background: var(--background-fill-secondary); text-decoration: none; }
.ser-note { font-size: .85rem; opacity: .85; overflow-wrap: anywhere; }
.ser-problem { border-left: 4px solid #d64545; padding: .75rem 1rem; overflow-wrap: anywhere;
  background: var(--background-fill-secondary); }
.ser-controls { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center;
  margin-bottom: 1rem; }
.ser-microphone { padding: .6rem 1.1rem; border-radius: 6px; border: 1px solid transparent;
  cursor: pointer; font-weight: 600; background: #4338ca; color: #fff; }
.ser-microphone[aria-pressed="true"] { background: #b42318; }
.ser-answer :focus-visible, .ser-controls :focus-visible {
  outline: 3px solid var(--color-accent); outline-offset: 2px; }
.ser-unseen, .ser-said { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) { .ser-point { transition: none; } }
""" + "".join(f".ser-c{n} {{ --ser-c: var(--ser-{n}); }}\n" for n in range(9))
