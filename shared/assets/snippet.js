// Tradepost in the vendor's console: a dialog while a purchase is linked, a banner before deployments are deleted.
(() => {
  const script = document.currentScript, { tokenUrl = "/tradepost-token", organization = "" } = script.dataset;
  const statusUrl = new URL("../v1/status", script.src);
  const CSS = `:host{--ink:#1a2029;--card:#fff;--line:#d5dbe3;--act:var(--tradepost-accent,#1a56b8);--on:#fff;--good:#116b38;--bad:#a3241a;--warn:#fdecea;display:block;font:1rem/1.5 system-ui,sans-serif;color:var(--ink)}
@media(prefers-color-scheme:dark){:host{--ink:#e8ecf2;--card:#171c24;--line:#323a46;--act:var(--tradepost-accent-dark,#8ab4f8);--on:#0e1218;--good:#6fd394;--bad:#ff9c92;--warn:#3a1815}}
*{box-sizing:border-box;overflow-wrap:anywhere}
.banner{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;padding:.75rem 1rem;background:var(--warn);border-bottom:2px solid var(--bad)}
[hidden]{display:none}
.banner p{margin:0;flex:1 1 16rem}
dialog{width:min(30rem,100vw - 2rem);padding:1.5rem;border:1px solid var(--line);border-top:.35rem solid var(--tone,var(--act));border-radius:.8rem;background:var(--card);color:var(--ink)}
dialog::backdrop{background:#0f172a99}
h2{font-size:1.25rem;margin:0;color:var(--tone)}
[data-state=linked]{--tone:var(--good)}
[data-state=failed],[data-state=unlinked]{--tone:var(--bad)}
i{display:none;width:2rem;height:2rem;margin:0 0 1rem;border:.3rem solid var(--line);border-top-color:var(--act);border-radius:50%;animation:turn 1s linear infinite}
[data-state=syncing] i{display:block}
@keyframes turn{to{rotate:1turn}}
@media(prefers-reduced-motion:reduce){i{animation:none}}
button{font:inherit;min-height:2.75rem;padding:.4rem 1.1rem;border:1px solid var(--act);border-radius:.5rem;background:var(--act);color:var(--on)}
.banner a,.banner button{color:var(--ink);background:none;border-color:currentcolor}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}`;

  // What this tab has seen and closed. Where storage is not allowed it is forgotten.
  const key = `tradepost:${organization}`;
  let memory = {};
  try { memory = JSON.parse(sessionStorage[key] ?? "{}"); } catch {}
  const remember = (news) => {
    Object.assign(memory, news);
    try { sessionStorage[key] = JSON.stringify(memory); } catch {}
  };

  const made = (tag, members, ...inside) => {
    const element = Object.assign(document.createElement(tag), members);
    element.append(...inside);
    return element;
  };
  const host = made("tradepost-status"), root = host.attachShadow({ mode: "open" }), sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [sheet];
  const title = made("h2", { id: "title" }), text = made("p");
  const dialog = made("dialog", { onclose: () => remember({ closed: dialog.dataset.state }) },
    made("i"), made("div", { role: "status" }, title, text), made("button", { onclick: () => dialog.close() }, "Close"));
  dialog.setAttribute("aria-labelledby", "title");
  const banner = made("div", { className: "banner", role: "alert", hidden: true });
  root.append(banner, dialog);
  document.body.prepend(host);

  const when = (at) => made("time", { dateTime: at }, new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
  const link = (href, words) => (/^https?:/.test(href) ? [made("a", { href }, words)] : []);
  const many = (count, word, more) => `${more ? "more than " : ""}${count} ${word}${count === 1 ? "" : "s"}`;

  const threaten = (told) => {
    const { stopped, next_at, trials, trial_stops_at, more } = told.deletion ?? {};
    const mark = `${stopped} ${next_at} ${trials}`;
    banner.hidden = !told.deletion || memory.dismissed === mark;
    if (banner.hidden || banner.dataset.mark === mark) return;
    banner.dataset.mark = mark;
    const says = made("p", {}, `${told.organization_name}: `);
    if (stopped) says.append(many(stopped, "deployment", more), " stopped. ");
    if (next_at) says.append("Deletion begins after ", when(next_at), ". ");
    if (trials) says.append(many(trials, "trial"), " still running; the first stops at ", when(trial_stops_at), ". ");
    says.append("Subscribe again to keep everything.");
    const dismiss = () => { remember({ dismissed: mark }); banner.hidden = true; };
    banner.replaceChildren(says, ...link(told.subscribe_url, "Subscribe again"),
      ...link(told.manage_url, "Manage subscriptions"), made("button", { onclick: dismiss }, "Dismiss"));
  };

  const show = (told) => {
    threaten(told);
    const { state } = told;
    if (dialog.dataset.state !== state) {
      title.textContent = told.title;
      text.textContent = told.text;
      dialog.dataset.state = state;
    }
    const news = told.title && [state, memory.seen].includes("syncing");
    if (news && memory.closed !== state && !dialog.open) dialog.showModal();
    remember({ seen: state });
  };

  let token, renewAt, wait = 0, timer;
  const look = async () => {
    let longest = 300;
    timer = 0;
    try {
      if (!document.hidden) {
        if (!token || Date.now() > renewAt) {
          const url = new URL(tokenUrl, location);
          url.searchParams.set("organization", organization);
          const answer = await fetch(url);
          if ([401, 403, 404].includes(answer.status)) return;
          const fresh = await answer.json();
          [token, renewAt] = [fresh.token, Date.now() + (fresh.expires_in - 60) * 1000];
        }
        const answer = await fetch(statusUrl, { credentials: "omit", headers: { authorization: `Bearer ${token}` } });
        if (answer.status === 401) token = 0;
        if (answer.ok) {
          const told = await answer.json();
          if (told.state !== memory.seen) wait = 0;
          if (told.state === "syncing") longest = 15;
          show(told);
        }
      }
    } catch {}
    wait = Math.min(Math.max(wait * 1.4, 2), longest);
    timer = setTimeout(look, wait * 1000);
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !timer) return;
    clearTimeout(timer);
    wait = 0;
    look();
  });
  look();
})();
