// While a link is syncing: asks for the status and reloads once it has changed.
(() => {
  const status = document.getElementById("status");
  if (!status || status.dataset.state !== "syncing") return;
  let wait = 1500;
  const look = async () => {
    try {
      const answer = await fetch(status.dataset.poll, { headers: { accept: "application/json" } });
      if (answer.ok && (await answer.json()).state !== "syncing") return location.reload();
    } catch {
      // Offline for a moment: ask again later.
    }
    wait = Math.min(wait * 1.2, 10000);
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
})();
