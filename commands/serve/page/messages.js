// The conversation as it is shown.

const $ = (id) => document.getElementById(id);

// An element with properties and children. Text is text: nothing here becomes markup.
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function announce(text) {
  $("announce").textContent = text;
}

function action(name, label, run) {
  return make("button", { type: "button", onclick: run, title: label }, icon(name), label);
}

function showConversation() {
  hideTip();
  const messages = store.current?.messages ?? [];
  $("welcome").hidden = messages.length > 0;
  $("log").replaceChildren(...messages.map((message, place) => messageElement(message, place)));
  const scroll = $("scroll");
  scroll.scrollTop = scroll.scrollHeight;
}

// The element of a message, with what can be done with it.
function messageElement(message, place) {
  const element = make("article", { className: `message ${message.role}` });
  element.ariaLabel = message.role === "user" ? "You" : "The model";
  if (message.dropped) element.append(make("p", { className: "notice" }, droppedText(message.dropped)));
  const text = make("div", { className: "text" });
  if (message.text || !message.error) element.append(text);
  if (message.error) element.append(make("p", { className: "error", role: "alert" }, message.error));
  if (message.role === "user") {
    text.textContent = message.text;
  } else {
    text.tabIndex = 0;
    new TokenText(text).add(message.tokens ?? [], message.text);
  }
  const actions = make("div", { className: "actions" });
  if (message.role === "user") {
    actions.append(action("edit", "Edit", () => edit(element, place)));
  } else {
    if (place === store.current.messages.length - 1) actions.append(action("retry", "Retry", retry));
    if (message.text) actions.append(action("copy", "Copy", (event) => copy(message.text, event.currentTarget)));
    actions.append(make("span", { className: "note" }, noteOf(message)));
  }
  element.append(actions);
  return element;
}

function droppedText({ messages, tokens }) {
  if (messages) return `The model no longer sees the oldest ${messages === 1 ? "message" : `${messages} messages`}: the conversation is longer than its context.`;
  return `The model no longer sees the first ${tokens} tokens: the text is longer than its context.`;
}

function noteOf(message) {
  const parts = [];
  if (message.finish === "length") parts.push("cut off: as many tokens as the settings allow");
  if (message.finish === "stopped") parts.push("stopped");
  if (!message.text && !message.error) parts.push("no answer");
  if (!message.text) return parts.join(" · ");
  parts.push(`${message.n_tokens} tokens`);
  if (message.seconds) parts.push(`${Math.round(message.n_tokens / message.seconds)} a second`);
  parts.push(`seed ${message.seed}`);
  return parts.join(" · ");
}

async function copy(text, button) {
  let told = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    told = "This browser does not let a page copy here";
  }
  announce(told);
  button.lastChild.data = told;
  setTimeout(() => (button.lastChild.data = "Copy"), 2000);
}

// Change a message of your own: what follows it is forgotten and answered anew.
function edit(element, place) {
  if (writing) return;
  const message = store.current.messages[place];
  const area = make("textarea", { value: message.text, ariaLabel: "Your message", rows: 2 });
  const close = () => {
    showConversation();
    toComposer();
  };
  const send = () => {
    const text = area.value.trim();
    if (!text) return;
    store.current.messages.length = place;
    if (!place) store.current.title = titleOf(text);
    ask(text);
  };
  area.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const buttons = make("div", {}, make("button", { type: "button", onclick: close }, "Cancel"), make("button", { type: "button", className: "main", onclick: send }, "Send"));
  element.replaceChildren(make("div", { className: "editor" }, area, buttons));
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
}
