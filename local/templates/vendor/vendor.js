// The modal, or the pop-up on Billing, that shows how the linking to a marketplace stands. While it is syncing: asks again and again, and turns
// it to the new state in place. Escape closes it, as its link does.
(() => {
  "use strict";
  const modal = document.querySelector("#marketplace-modal, #marketplace-toast");
  const close = document.getElementById("close-modal");
  if (!modal || !close) return;

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close.click();
  });

  const LONGEST = 10000;
  let wait = 1000;
  let timer;

  const put = (element, text) => {
    if (element && text) element.textContent = text;
  };

  const turn = (told) => {
    const panel = modal.querySelector(`[data-panel="${CSS.escape(told.state)}"]`);
    if (!panel) return;
    put(panel.querySelector("[data-payment-method]"), told.payment_method);
    for (const other of modal.querySelectorAll("[data-panel]")) other.hidden = other !== panel;
    modal.dataset.state = told.state;
    close.href = close.dataset.to + told.state;
    const { organization } = modal.dataset;
    put(document.getElementById(`payment-method-${organization}`), told.payment_method);
    const paid = told.state === "linked" ? "linked" : "other";
    for (const edit of document.querySelectorAll(`[data-edit="${CSS.escape(organization)}"]`)) {
      edit.hidden = edit.dataset.when !== paid;
    }
    const link = document.getElementById(`link-state-${organization}`);
    put(link, told.link);
    if (link) link.className = `badge ${told.state}`;
  };

  const again = () => {
    clearTimeout(timer);
    if (modal.dataset.state !== "syncing" || document.hidden) return;
    timer = setTimeout(look, wait);
    wait = Math.min(wait * 1.3, LONGEST);
  };

  const look = async () => {
    try {
      const answer = await fetch(modal.dataset.poll, { headers: { accept: "application/json" }, cache: "no-store" });
      // Signed out, or no longer a member: there is nothing to learn here any more.
      if (answer.status === 401 || answer.status === 404) return;
      if (answer.ok) turn(await answer.json());
    } catch {
      // Offline for a moment: ask again later.
    }
    again();
  };

  document.addEventListener("visibilitychange", () => {
    wait = 1000;
    again();
  });
  again();
})();
