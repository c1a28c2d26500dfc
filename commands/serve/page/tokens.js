// Tokens with their probabilities: as coloured text, and what is shown when you point at one.

const LIMITS = [0.02, 0.1, 0.4, 0.8]; // of the colours

// The tokens of a chunk, small enough to keep: [what it is called, logprob, [[another, logprob], ...], its bytes].
function tokensOf(logprobs) {
  if (!logprobs) return [];
  if (logprobs.content) {
    const round = (x) => Math.round(x * 1e4) / 1e4;
    return logprobs.content.map((t) => [t.token, round(t.logprob), t.top_logprobs.map((a) => [a.token, round(a.logprob)]), t.bytes]);
  }
  const bytes = (name) =>
    name.startsWith("bytes:\\x") ? name.split("\\x").slice(1).map((two) => parseInt(two, 16)) : [...new TextEncoder().encode(name)];
  return logprobs.tokens.map((token, i) => {
    const others = Object.entries(logprobs.top_logprobs[i]).sort((a, b) => b[1] - a[1]);
    return [token, logprobs.token_logprobs[i], others, bytes(token)];
  });
}

// Writes text into an element, a span for each token. Tokens that share a character share a span.
class TokenText {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    this.waiting = [];
    this.text = "";
  }

  // `whole` is the text that must stand there at the end: the tokens may say more, as where a stop string cuts one.
  add(tokens, whole) {
    for (const token of tokens) {
      this.waiting.push(token);
      let piece = this.decoder.decode(new Uint8Array(token[3]), { stream: true });
      if (this.text.length + piece.length > whole.length) piece = whole.slice(this.text.length);
      if (!piece) continue;
      this.text += piece;
      const span = document.createElement("span");
      span.className = "token";
      span.textContent = piece;
      span.tokens = this.waiting;
      const p = Math.exp(this.waiting.reduce((sum, t) => sum + t[1], 0));
      span.dataset.p = LIMITS.filter((limit) => p >= limit).length;
      this.waiting = [];
      this.element.append(span);
    }
    if (whole.startsWith(this.text)) {
      if (whole.length > this.text.length) this.element.append(whole.slice(this.text.length));
    } else {
      this.element.replaceChildren(whole); // tokens of a kind whose texts do not add up
    }
    this.text = whole;
  }
}

const tip = document.getElementById("tip");
let tipFor = null;

function showTip(span) {
  tipFor?.classList.remove("at");
  tipFor = span;
  span.classList.add("at");
  const parts = [];
  for (const [name, logprob, others] of span.tokens) {
    const title = make("h3", {}, make("span", {}, `${visible(name)}`), make("span", {}, percent(logprob)));
    const list = make("ol");
    const rows = others.some(([other]) => other === name) ? others : [...others, [name, logprob]];
    for (const [other, value] of rows) {
      const meter = make("meter", { min: 0, max: 1, value: Math.exp(value), ariaHidden: "true" });
      const row = make("li", { className: other === name ? "taken" : "" });
      row.append(make("code", {}, visible(other)), meter, make("span", {}, percent(value)));
      list.append(row);
    }
    parts.push(title, make("p", {}, "The likeliest tokens here, before temperature and top-p"), list);
  }
  tip.replaceChildren(...parts);
  tip.hidden = false;
  const at = span.getClientRects()[0];
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left), innerWidth - box.width - 8);
  const above = at.top - box.height - 8;
  tip.style.transform = `translate(${left}px, ${above > 8 ? above : Math.min(at.bottom + 8, innerHeight - box.height - 8)}px)`;
}

function hideTip() {
  tipFor?.classList.remove("at");
  tipFor = null;
  tip.hidden = true;
}

// Pointing, tapping, and the arrow keys in an answer that has the focus.
function watchTokens(log) {
  log.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    if (event.target.classList.contains("token")) showTip(event.target);
    else hideTip();
  });
  log.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && hideTip());
  document.addEventListener("click", (event) => {
    if (!event.target.classList.contains("token")) hideTip();
    else if (getSelection().isCollapsed) showTip(event.target);
  });
  log.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.matches(".assistant .text")) return;
    const spans = [...event.target.querySelectorAll(".token")];
    const place = spans.indexOf(tipFor) + step;
    if (!spans.length) return;
    event.preventDefault();
    const span = spans[(place + spans.length) % spans.length];
    showTip(span);
    span.scrollIntoView({ block: "nearest" });
    announce(tip.innerText.replaceAll("\n", " "));
  });
  log.addEventListener("focusout", hideTip);
  document.getElementById("scroll").addEventListener("scroll", hideTip, { passive: true });
}

function percent(logprob) {
  const p = 100 * Math.exp(logprob);
  return p >= 99.95 ? "100 %" : p >= 10 ? `${p.toFixed(1)} %` : p >= 0.01 ? `${p.toFixed(2)} %` : "< 0.01 %";
}

function visible(token) {
  return token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replace(/^ /, "␣").replace(/ $/, "␣") || "∅";
}
