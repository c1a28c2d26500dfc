// What you do, and what the model answers.

let model = null; // its card
let writing = null; // the answer that grows: {abort, conversation, message}

const isChat = () => model?.chats !== false;

async function begin() {
  store.load();
  watchPanel();
  watchTokens($("log"));
  watchComposer();
  watchWindow();
  showSettings();
  showList();
  try {
    model = await api.model();
  } catch (error) {
    hint(error.message);
    return;
  }
  document.body.dataset.mode = isChat() ? "chat" : "text";
  document.title = `${model.id} · storyline`;
  $("model").textContent = model.id;
  $("facts").textContent = `sees ${model.context_length} tokens`;
  $("system-field").hidden = !isChat();
  $("input").placeholder = isChat() ? "Say something…" : "Begin a story, or leave this empty…";
  $("input-label").textContent = isChat() ? "Message" : "Text to continue";
  $("new-label").textContent = isChat() ? "New conversation" : "New text";
  $("greeting").textContent = isChat() ? "What shall we tell?" : "How does it begin?";
  $("greeting-text").textContent = isChat()
    ? "A small model, trained from scratch on this machine. Point at any word of its answers to see how sure it was, and what else it might have said."
    : "This model continues texts. Write a beginning. Point at any word it writes to see how sure it was, and what else it might have written.";
  const ideas = isChat()
    ? ["Tell me a story.", "Tell me a story with the words fox and lantern.", "Tell me a story about a brave mouse.", "Hello!"]
    : ["Once upon a time", "One rainy morning,", "The little fox was"];
  $("ideas").replaceChildren(...ideas.map((idea) => make("button", { type: "button", onclick: () => ask(idea) }, idea)));
  showSettings();
  showConversation();
  showState();
  toComposer();
}

// Say something, and let the model answer. An empty text lets it go on with what it wrote, where it continues texts.
function ask(text) {
  if (writing || !model) return;
  if (!store.current) store.start(titleOf(text));
  forgetUnanswered(store.current.messages);
  if (text || !store.current.messages.length) store.current.messages.push({ role: "user", text });
  openDrawer(false);
  toComposer();
  answer();
}

// A message that got no answer was not said: no dialogue has two messages of one side in a row. But a text goes on.
function forgetUnanswered(messages) {
  if (messages.at(-1)?.role !== "assistant" || messages.at(-1).text) return null;
  messages.pop();
  return isChat() ? messages.pop() : null;
}

function retry() {
  if (writing || store.current?.messages.at(-1)?.role !== "assistant") return;
  store.current.messages.pop();
  toComposer();
  answer();
}

function stop() {
  writing?.abort.abort();
}

async function answer() {
  const conversation = store.current;
  const said = conversation.messages.filter((message) => message.text);
  const message = { role: "assistant", text: "", tokens: [], n_tokens: 0 };
  message.seed = store.settings.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
  conversation.messages.push(message);
  store.save(conversation);
  writing = { abort: new AbortController(), conversation, message };
  showList();
  showConversation();
  showState();
  const element = $("log").lastElementChild;
  element.classList.add("writing");
  const shown = new TokenText(element.querySelector(".text"));
  const started = performance.now();
  try {
    const [path, body] = requestFor(said, message.seed);
    await api.stream(path, body, writing.abort.signal, (chunk) => {
      if (chunk.usage) message.n_tokens = chunk.usage.completion_tokens;
      if (chunk.dropped_messages || chunk.dropped_tokens) {
        message.dropped = { messages: chunk.dropped_messages, tokens: chunk.dropped_tokens };
      }
      for (const choice of chunk.choices) {
        const tokens = tokensOf(choice.logprobs);
        const piece = choice.delta?.content ?? choice.text ?? "";
        message.text += piece;
        message.tokens.push(...tokens);
        message.finish = choice.finish_reason ?? message.finish;
        if (piece) follow(() => shown.add(tokens, message.text));
      }
    });
  } catch (error) {
    if (writing.abort.signal.aborted) message.finish = "stopped";
    else message.error = error instanceof TypeError ? "The server does not answer. Does it still run?" : error.message;
  }
  message.n_tokens ||= message.tokens.length;
  message.seconds = (performance.now() - started) / 1000;
  writing = null;
  if (store.conversations.some((one) => one.id === conversation.id)) ended(conversation, message);
  showState();
}

// Keep and show an answer that has ended. Of one that was stopped before it began, nothing is kept; what you said stands
// where you write, so that you can change it.
function ended(conversation, message) {
  const isOpen = store.isOpen(conversation);
  const unsaid = message.finish === "stopped" ? forgetUnanswered(conversation.messages) : null;
  if (conversation.messages.some((one) => one.text)) store.save(conversation);
  else store.remove(conversation);
  if (isOpen && conversation.messages.at(-1) === message) {
    const finished = messageElement(message, conversation.messages.length - 1);
    follow(() => $("log").lastElementChild.replaceWith(finished));
    announce(message.error ?? message.text);
  } else if (isOpen) {
    $("input").value ||= unsaid?.text ?? "";
    showList();
    showConversation();
  }
}

function requestFor(said, seed) {
  const { temperature, top_p, max_tokens } = store.settings;
  const body = { model: model.id, temperature, top_p, seed, max_tokens: Math.min(max_tokens ?? model.max_tokens, model.max_tokens) };
  if (!isChat()) {
    return ["v1/completions", { ...body, prompt: said.map((message) => message.text).join(""), logprobs: 5 }];
  }
  const messages = said.map(({ role, text }) => ({ role, content: text }));
  if (store.settings.system.trim()) messages.unshift({ role: "system", content: store.settings.system });
  return ["v1/chat/completions", { ...body, messages, logprobs: true, top_logprobs: 5 }];
}

// Change the log, and stay at its end if the reader is there.
function follow(change) {
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  change();
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return (line.length > 48 ? `${line.slice(0, 47)}…` : line) || "A story";
}

function hint(text) {
  $("hint").textContent = text;
}

function showState() {
  const empty = !$("input").value.trim();
  $("log").ariaBusy = String(Boolean(writing));
  $("go").disabled = !model || (!writing && empty && isChat());
  $("go").ariaLabel = writing ? "Stop" : isChat() ? "Send" : "Continue";
  $("go-icon").setAttribute("href", writing ? "#i-stop" : "#i-send");
  hint(writing ? "Esc stops" : isChat() ? "Small models make things up. Point at a word to see how sure it was." : "An empty text lets the model go on.");
}

function watchComposer() {
  const input = $("input");
  const submit = () => {
    if (writing || !model) return;
    const text = isChat() ? input.value.trim() : input.value;
    if (!text && isChat()) return;
    input.value = "";
    ask(text);
  };
  $("composer").onsubmit = (event) => {
    event.preventDefault();
    if (writing) stop();
    else submit();
  };
  input.oninput = showState;
  input.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && !input.value && isChat()) {
      const edits = document.querySelectorAll(".user .actions button");
      if (edits.length) {
        event.preventDefault();
        edits[edits.length - 1].click();
      }
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("settings").open) {
      hideTip();
      openDrawer(false);
      stop();
    } else if (event.altKey && !event.ctrlKey && !event.metaKey) {
      const run = { KeyN: () => choose(null), KeyR: retry, KeyP: () => $("colours").click(), KeyS: () => $("settings").showModal() }[event.code];
      if (run && !$("settings").open) {
        event.preventDefault();
        run();
      }
    }
  });
}

// Other tabs change what is kept. And this one may be closed while an answer grows.
function watchWindow() {
  addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    const before = JSON.stringify(store.current);
    store.refresh(writing?.conversation);
    showList();
    showSettings();
    if (JSON.stringify(store.current) !== before) showConversation();
  });
  addEventListener("pagehide", () => {
    if (!writing) return;
    writing.message.finish = "stopped";
    store.save(writing.conversation);
  });
}

// Be ready to write. A keyboard on the screen would cover the conversation, so there the reader taps first.
function toComposer() {
  if (!matchMedia("(pointer: coarse)").matches) $("input").focus();
}

begin();
