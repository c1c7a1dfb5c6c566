// The live status: asks how the link stands and shows it in place. Pages work without this; they reload instead.
(() => {
  const again = document.querySelector("[data-look-again]");
  if (again) setTimeout(() => location.reload(), Number(again.dataset.lookAgain) * 1000);

  // A second press of Link while the first is under way would only be told the same.
  const form = document.getElementById("link-form");
  form?.addEventListener("submit", (event) => {
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
    const button = event.submitter ?? form.querySelector("button:not([disabled])");
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.busy;
  });

  // Whoever writes a name wants a new one.
  const named = document.querySelector(".new input");
  named?.addEventListener("input", () => { document.querySelector("input[value=new]").checked = true; });

  // A tooltip can be put away without moving on (WCAG 1.4.13).
  for (const tip of document.querySelectorAll(".tip")) {
    const put = (away) => tip.classList.toggle("away", away);
    tip.addEventListener("keydown", (event) => event.key === "Escape" && put(true));
    for (const back of ["focusout", "mouseleave"]) tip.addEventListener(back, () => put(false));
  }
  // The browser's back button may bring the sent form back.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  const status = document.querySelector("[data-poll]");
  if (status?.dataset.state !== "syncing") return;
  const show = (told) => {
    for (const field of document.querySelectorAll("[data-field]")) field.textContent = told[field.dataset.field] ?? "";
    for (const part of document.querySelectorAll("[data-when]")) {
      part.hidden = part.dataset.when !== told.state;
      const title = part.querySelector("h1");
      if (!title) continue;
      title.removeAttribute("id");
      if (!part.hidden) title.id = "modal-title";
    }
    status.dataset.state = told.state;
  };
  let wait = 1500;
  const look = async () => {
    try {
      const answer = document.hidden ? null : await fetch(status.dataset.poll, { headers: { accept: "application/json" } });
      const told = answer?.ok ? await answer.json() : { state: "syncing" };
      // Another tab looks at another account: this one looks anew, rather than show what is not its own.
      if (told.organization && told.organization !== status.dataset.organization) return location.reload();
      if (told.state !== "syncing") return show(told);
    } catch {
      // Offline for a moment: ask again later.
    }
    wait = Math.min(wait * 1.2, 10000);
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
})();
