"""The style of the page of the analysis: light and dark, desktop, phone and paper.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which readers with every kind of colour vision
tell apart. A value is shown by how strong one colour is over the background, so it works in the dark too; below zero it
is the other colour. No colour stands alone: lines differ in their dashes, and hovering says every value.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --soft: #5b6472; --line: #d9dde3; --back: #fff; --tint: #f4f5f7;
  --edge: #0003;
  --above: 0,114,178; --below: 213,94,0; --focus: #0072b2;
  --c0: #0072b2; --c1: #d55e00; --c2: #008f68; --c3: #b5528f; --c4: #8a6d00; --c5: #3d8fc4; --c6: #1f2937;
    --c7: #7a7f87; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --soft: #a3abb8; --line: #3a414d; --back: #14171c;
  --tint: #1f242c; --edge: #fff4; --above: 86,180,233; --below: 230,140,40; --focus: #56b4e9;
  --c0: #56b4e9; --c1: #e69f00; --c2: #2fc79b; --c3: #e08fc0; --c4: #f0e442; --c5: #9ad1f5; --c6: #e5e7eb;
    --c7: #9aa0a8; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem 1rem 4rem;
  color: var(--ink); background: var(--back); }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem; padding-top: .8rem; border-top: 1px solid var(--line); }
section { scroll-margin-top: 4.5rem; }  /* the links to topics stay above it, in two lines on a phone */
h3 { font-size: 1rem; margin: 0 0 .2rem; }
figure { margin: 1.8rem 0; min-width: 0; }
figcaption p, .note { margin: 0 0 .6rem; color: var(--soft); max-width: 48rem; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; z-index: 2; background: var(--back); border-bottom: 1px solid var(--line);
  padding: .4rem 0;
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
a { color: var(--focus); }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
.scroll { overflow: auto; max-height: 34rem; width: fit-content; max-width: 100%;
  background:  /* a shadow at each edge behind which there is more */
    linear-gradient(to top, var(--back) 60%, transparent) bottom / 100% 2rem no-repeat local,
    linear-gradient(to left, var(--back) 60%, transparent) right / 2rem 100% no-repeat local,
    linear-gradient(to top, var(--edge), transparent) bottom / 100% .8rem no-repeat,
    linear-gradient(to left, var(--edge), transparent) right / .8rem 100% no-repeat; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 3.5rem; max-width: 42rem; }
thead th { position: sticky; top: 0; background: var(--back); color: var(--soft); font-weight: normal; }
.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
.grid th, .grid td { padding: .2rem .35rem; border: 1px solid var(--back); text-align: center; white-space: pre;
  min-width: 1.6rem; }
.grid tbody th { position: sticky; left: 0; background: var(--back); color: var(--soft); font-weight: normal;
  text-align: right; }
.grid td { height: 1.7rem; cursor: default; max-width: none; overflow-wrap: normal; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2; font-size: 1.02rem; }
.tokens span { padding: .15rem 0; border-radius: .2rem; cursor: default; box-shadow: inset 0 0 0 .5px var(--line); }
.tokens .chosen { box-shadow: inset 0 0 0 2px var(--ink); }
.bars { display: grid; grid-template-columns: minmax(4rem, max-content) 1fr max-content; gap: .2rem .7rem;
  font-size: .88rem;
  align-items: center; max-width: 46rem; font-variant-numeric: tabular-nums; }
.bars span { overflow-wrap: anywhere; white-space: pre-wrap; max-width: 15rem; }
.bars div { position: relative; height: 1rem; background: var(--tint); }
.bars i { position: absolute; top: 0; bottom: 0; background: var(--c0); }
.bars i.less { background: var(--c1); }
.bars u { position: absolute; top: 45%; height: 2px; background: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .85rem; margin: 0; padding: 0;
  list-style: none; }
svg { display: block; width: 100%; touch-action: pan-y; overflow: visible; }
svg text { font-size: 12px; fill: var(--soft); }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg path { fill: none; stroke-width: 2; }
.heads { display: grid; gap: 3px; width: max-content; margin-bottom: .8rem; font-size: .75rem; color: var(--soft);
  align-items: center; }
button { font: inherit; color: inherit; background: var(--back); border: 2px solid var(--line); border-radius: .3rem;
  padding: 2px;
  cursor: pointer; line-height: 0; touch-action: manipulation; }
button[aria-pressed=true] { border-color: var(--ink); }
canvas { width: 44px; height: 44px; image-rendering: pixelated; }
img { max-width: 100%; height: auto; background: #fff; }
#tip { position: fixed; z-index: 3; pointer-events: none; max-width: min(20rem, 90vw); padding: .4rem .6rem;
  border-radius: .4rem;
  background: var(--ink); color: var(--back); font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 600px) { .bars { grid-template-columns: minmax(3rem, 8rem) 1fr max-content; } }
@media print { nav, #tip { display: none; } .scroll { overflow: visible; max-height: none; } figure {
  break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } thead th, .grid tbody th { position: static; } }
"""
