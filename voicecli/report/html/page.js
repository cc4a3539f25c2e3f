"use strict";
// Moves a line through the waveforms while their recording plays; prints what is folded.
for (const session of document.querySelectorAll("[data-session]")) {
  const audio = session.querySelector("audio");
  if (!audio) continue;
  const rows = [...session.querySelectorAll("svg[data-start]")];
  const show = () => {
    for (const row of rows) {
      const share = (audio.currentTime - row.dataset.start) / row.dataset.length;
      const head = row.querySelector(".playhead");
      head.setAttribute("visibility", share >= 0 && share < 1 ? "visible" : "hidden");
      head.setAttribute("x1", `${100 * share}%`);
      head.setAttribute("x2", `${100 * share}%`);
    }
    if (!audio.paused) requestAnimationFrame(show);
  };
  const playFrom = (time) => {
    audio.currentTime = Math.max(time, 0);
    audio.play();
  };
  for (const event of ["play", "seeked", "pause"]) audio.addEventListener(event, show);
  for (const row of rows) {
    row.addEventListener("click", (event) => {
      const box = row.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      playFrom(Number(row.dataset.start) + share * row.dataset.length);
    });
  }
  for (const button of session.querySelectorAll("button[data-at]")) {
    button.addEventListener("click", () => playFrom(Number(button.dataset.at)));
  }
}
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details[data-print]")) folded.open = true;
});
