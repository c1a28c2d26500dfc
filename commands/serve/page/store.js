// What this browser keeps: conversations and settings.

const KEY = "storyline";
const DEFAULTS = { temperature: 0.7, top_p: 0.95, max_tokens: null, seed: null, system: "", colours: false, theme: null };

const store = {
  settings: { ...DEFAULTS },
  conversations: [], // the newest first: {id, title, messages: [{role, text, tokens, finish, error, ...}]}
  current: null,

  load() {
    this.refresh();
    this.current = this.conversations[0] ?? null;
  },

  // Know what another tab has kept. The conversation in which an answer grows here stays as it is here.
  refresh(growing) {
    const { settings, conversations } = this.kept();
    Object.assign(this.settings, settings);
    this.conversations = growing ? moved(growing, conversations) : conversations;
    this.current = this.conversations.find((one) => this.isOpen(one)) ?? null;
  },

  isOpen(conversation) {
    return conversation.id === this.current?.id;
  },

  start(title) {
    this.current = { id: crypto.randomUUID?.() ?? String(Date.now() + Math.random()), title, messages: [] };
  },

  save(conversation) {
    this.keep((all) => moved(conversation, all));
  },

  remove(conversation) {
    this.keep((all) => all.filter((one) => one.id !== conversation.id));
    if (this.isOpen(conversation)) this.current = null;
  },

  saveSettings() {
    this.keep((all) => all);
  },

  // What is kept now; what this tab remembers, where nothing is kept or may be kept.
  kept() {
    try {
      const { settings, conversations } = JSON.parse(localStorage.getItem(KEY));
      if (Array.isArray(conversations)) return { settings, conversations };
    } catch {
      // Nothing can be read.
    }
    return { settings: {}, conversations: this.conversations };
  },

  // Change the conversations that are kept: other tabs may have changed them too. Where there is too little room, the
  // probabilities of old conversations go first, then the conversations.
  keep(changed) {
    this.conversations = changed(this.kept().conversations);
    const attempts = [
      (all) => all,
      (all) => all.map((one, i) => (i < 3 ? one : bare(one))),
      (all) => all.slice(0, 20).map(bare),
    ];
    for (const attempt of attempts) {
      try {
        const conversations = attempt(this.conversations);
        localStorage.setItem(KEY, JSON.stringify({ settings: this.settings, conversations }));
        return;
      } catch {
        continue;
      }
    }
  },
};

// The conversations with this one in front, as it is.
function moved(conversation, all) {
  return [conversation, ...all.filter((one) => one.id !== conversation.id)];
}

function bare(conversation) {
  return { ...conversation, messages: conversation.messages.map(({ tokens, ...rest }) => rest) };
}
