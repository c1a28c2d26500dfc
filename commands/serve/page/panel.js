// Beside the conversation: the list of all, the settings, dark and light.

function showList() {
  $("conversations").replaceChildren(
    ...store.conversations.map((one) => {
      const open = make("button", { type: "button", className: "open", title: one.title, onclick: () => choose(one) }, one.title);
      const remove = make("button", { type: "button", className: "remove", ariaLabel: `Remove: ${one.title}` }, icon("trash"));
      remove.onclick = () => {
        if (remove.classList.contains("sure")) {
          if (store.isOpen(one)) stop();
          store.remove(one);
          showList();
          showConversation();
          $("new").focus();
        } else {
          remove.classList.add("sure");
          remove.replaceChildren("Remove?");
        }
      };
      remove.onblur = () => {
        remove.classList.remove("sure");
        remove.replaceChildren(icon("trash"));
      };
      const item = make("li", {}, open, remove);
      if (store.isOpen(one)) {
        item.dataset.current = "";
        open.ariaCurrent = "true";
      }
      return item;
    }),
  );
}

function choose(conversation) {
  stop();
  store.current = conversation;
  openDrawer(false);
  showList();
  showConversation();
  toComposer();
}

function openDrawer(open) {
  $("drawer").toggleAttribute("data-open", open);
  $("veil").hidden = !open;
  $("menu").ariaExpanded = String(open);
  if (open) $("new").focus();
  else if ($("drawer").contains(document.activeElement)) $("menu").focus();
}

const FIELDS = ["temperature", "top_p", "max_tokens", "seed", "system"];

function showSettings() {
  for (const name of FIELDS) $(name).value = store.settings[name] ?? "";
  for (const name of ["temperature", "top_p"]) $(`${name}-value`).value = Number(store.settings[name]).toFixed(2);
  $("max_tokens").max = model?.max_tokens ?? 1024;
  $("max_tokens").placeholder = model?.max_tokens ?? "";
  $("colours").checked = store.settings.colours;
  $("legend").hidden = !store.settings.colours;
  document.body.toggleAttribute("data-colours", store.settings.colours);
  if (store.settings.theme) document.documentElement.dataset.theme = store.settings.theme;
}

function change(values) {
  Object.assign(store.settings, values);
  store.saveSettings();
  showSettings();
}

function watchPanel() {
  for (const name of FIELDS) {
    $(name).addEventListener(name === "system" ? "input" : "change", () => change({ [name]: settingIn(name) }));
    if ($(name).type === "range") $(name).addEventListener("input", () => change({ [name]: settingIn(name) }));
  }
  $("reset").onclick = () => change({ ...DEFAULTS, theme: store.settings.theme });
  $("colours").onchange = () => follow(() => change({ colours: $("colours").checked }));
  $("theme").onclick = () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    change({ theme: (store.settings.theme ?? system) === "dark" ? "light" : "dark" });
  };
  $("open-settings").onclick = () => $("settings").showModal();
  $("settings").onclick = (event) => event.target === $("settings") && $("settings").close();
  $("menu").onclick = () => openDrawer(true);
  $("veil").onclick = () => openDrawer(false);
  $("new").onclick = () => choose(null);
}

// What stands in a field of the settings. A number out of range is moved to the nearest one that is allowed.
function settingIn(name) {
  const field = $(name);
  if (name === "system") return field.value;
  if (field.value === "" || !Number.isFinite(field.valueAsNumber)) return DEFAULTS[name];
  const [least, most] = [field.min, field.max].map((bound, i) => (bound === "" ? [0, 2 ** 32 - 1][i] : Number(bound)));
  const value = Math.min(Math.max(field.valueAsNumber, least), most);
  return field.type === "number" ? Math.round(value) : value;
}
