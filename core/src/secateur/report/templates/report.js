// Values under the pointer, or under the arrow keys. Everything is readable without it.
(function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";
  function show(figure) {
    var data = JSON.parse(figure.dataset.chart), plot = figure.querySelector(".plot"), now = -1;
    var svg = plot.querySelector("svg"), guide = document.createElementNS(SVG, "line"), tip = document.createElement("div");
    guide.setAttribute("class", "guide");
    guide.setAttribute("y1", "0");
    guide.setAttribute("y2", "100%");
    guide.style.display = "none";
    svg.appendChild(guide);
    tip.className = "tip";
    tip.hidden = true;
    plot.appendChild(tip);
    function at(index) {
      now = index;
      var x = data.x[index];
      guide.setAttribute("x1", x + "%");
      guide.setAttribute("x2", x + "%");
      guide.style.display = "";
      tip.textContent = "";
      var head = document.createElement("b");
      head.textContent = data.at[index];
      tip.appendChild(head);
      data.rows.forEach(function (row, number) {
        if (row.y[index] === null) return;
        var line = document.createElement("span"), key = document.createElement("i");
        key.className = "s" + (number % 4);
        line.appendChild(key);
        line.appendChild(document.createTextNode(row.name + "  " + row.text[index]));
        tip.appendChild(line);
      });
      tip.hidden = false;
      tip.style.left = x > 55 ? "auto" : "calc(" + x + "% + 10px)";
      tip.style.right = x > 55 ? "calc(" + (100 - x) + "% + 10px)" : "auto";
    }
    function hide() {
      now = -1;
      tip.hidden = true;
      guide.style.display = "none";
    }
    function point(event) {
      var box = svg.getBoundingClientRect(), x = 100 * (event.clientX - box.left) / box.width, best = 0;
      data.x.forEach(function (place, index) {
        if (Math.abs(place - x) < Math.abs(data.x[best] - x)) best = index;
      });
      at(best);
    }
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], last = data.x.length - 1;
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      at(now < 0 ? (step > 0 ? 0 : last) : Math.min(last, Math.max(0, now + step)));
    });
  }
  document.querySelectorAll("figure.chart").forEach(show);
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.prototype.filter.call(document.querySelectorAll("details"), function (d) { return !d.open; });
    opened.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (d) { d.open = false; });
  });
})();
