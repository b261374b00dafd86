// The list of versions: versions.json lies beside the folders of the versions. A site that was
// built alone has none, and shows no list.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const box = document.querySelector(".sidebar-versions");
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  if (!box || !location.protocol.startsWith("http")) return;
  const answer = await fetch(new URL("../versions.json", root)).catch(() => null);
  if (!answer?.ok) return;
  const here = root.pathname.split("/").at(-2);
  const select = box.querySelector("select");
  for (const version of await answer.json()) {
    select.add(new Option(version, version, false, version === here));
  }
  select.addEventListener("change", () => {
    const page = location.href.slice(root.href.length);
    const target = new URL(`../${select.value}/`, root);
    // A page may not exist in another version: then its first page is shown.
    fetch(new URL(page, target), { method: "HEAD" }).then((found) => {
      location.assign(found.ok ? new URL(page, target) : target);
    });
  });
  box.hidden = false;
});
