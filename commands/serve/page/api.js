// The server: what model it has, and answers as they grow.

const api = {
  async model() {
    const answer = await fetch("v1/models");
    if (!answer.ok) throw new Error(await messageOf(answer));
    return (await answer.json()).data[0];
  },

  // Calls `on` with each chunk of an answer. Ends when the answer does; throws an Error with a message for people.
  async stream(path, body, signal, on) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    if (!answer.ok) throw new Error(await messageOf(answer));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error("The answer broke off.");
      held += value;
      const events = held.split("\n\n");
      held = events.pop();
      for (const event of events) {
        const data = event.replace(/^data: /, "");
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message);
        on(chunk);
      }
    }
  },
};

async function messageOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answered with the status ${answer.status}.`;
  }
}
