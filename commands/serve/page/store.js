// What this browser keeps: conversations and settings.

const KEY = "storyline";
const DEFAULTS = { temperature: 0.8, top_p: 0.95, max_tokens: null, seed: null, system: "", colours: false, theme: null };

const store = {
  settings: { ...DEFAULTS },
  conversations: [], // the newest first: {id, title, messages: [{role, text, tokens, notes, error}]}
  current: null,

  load() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
      Object.assign(this.settings, kept.settings);
      this.conversations = Array.isArray(kept.conversations) ? kept.conversations : [];
    } catch {
      // What is kept cannot be read, or nothing may be kept: begin anew.
    }
    this.current = this.conversations[0] ?? null;
  },

  // Where there is too little room, the probabilities of old conversations go first, then the conversations.
  save() {
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

  start(title) {
    this.current = { id: crypto.randomUUID?.() ?? String(Date.now() + Math.random()), title, messages: [] };
    this.conversations.unshift(this.current);
  },

  remove(conversation) {
    this.conversations = this.conversations.filter((one) => one !== conversation);
    if (this.current === conversation) this.current = null;
    this.save();
  },
};

function bare(conversation) {
  return { ...conversation, messages: conversation.messages.map(({ tokens, ...rest }) => rest) };
}
