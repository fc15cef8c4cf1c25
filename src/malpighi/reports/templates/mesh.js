// 3-D views: plotly.js and the surfaces lie packed in the page; the browser unpacks both.
(async () => {
  const unpack = async text => {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  };
  const inflate = async text => (await unpack(text)).arrayBuffer();
  const views = document.querySelectorAll('[data-view="mesh"]');
  const fail = (view, error) => {
    const line = document.createElement("p");
    line.className = "failed";
    line.textContent = `The 3-D view cannot be drawn here (${error.message}). It needs WebGL and a browser of 2023 or later.`;
    view.append(line);
  };
  try {
    const library = document.createElement("script");
    library.textContent = await (await unpack(document.getElementById("plotly").textContent.trim())).text();
    document.head.append(library);
    if (!window.Plotly) throw new Error("plotly.js did not start");
  } catch (error) {
    views.forEach(view => fail(view, error));
    return;
  }
  // plotly's own light mixes data and screen units, so that its direction depends on the volume's size: light is computed here,
  // from above, left and before, as brightness by vertex
  const light = (x, y, z, faces) => {
    const n = x.length, normal = [new Float32Array(n), new Float32Array(n), new Float32Array(n)], out = new Float32Array(n);
    for (let t = 0; t < faces.length; t += 3) {
      const a = faces[t], b = faces[t + 1], c = faces[t + 2];
      const u = [z[b] - z[a], y[b] - y[a], x[b] - x[a]], v = [z[c] - z[a], y[c] - y[a], x[c] - x[a]];
      for (let k = 0; k < 3; k++) {
        const part = u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3];
        for (const corner of [a, b, c]) normal[k][corner] += part;
      }
    }
    for (let i = 0; i < n; i++) {
      const [dz, dy, dx] = normal.map(k => k[i]), length = Math.hypot(dz, dy, dx) || 1;
      out[i] = 0.5 + 0.5 * (-0.74 * dz + 0.62 * dy - 0.26 * dx) / length;
    }
    return out;
  };
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
  for (const view of views) {
    try {
      const data = JSON.parse(view.querySelector("script").textContent), traces = [];
      for (const mesh of data.meshes) {
        const q = new Uint16Array(await inflate(mesh.vertices)), f = new Uint32Array(await inflate(mesh.faces));
        const n = q.length / 3, axis = k => {
          const scale = (data.high[k] - data.low[k]) / 65535;
          return Float32Array.from(q.subarray(k * n, (k + 1) * n), v => data.low[k] + v * scale);
        };
        const z = axis(0), y = axis(1), x = axis(2), triangles = f.length / 3;
        const corner = k => { const out = new Uint32Array(triangles); for (let t = 0; t < triangles; t++) out[t] = f[3 * t + k]; return out; };
        const shade = Math.round, tint = by => `rgb(${mesh.color.map(c => shade(by < 1 ? c * by : 255 - (255 - c) * (2 - by)))})`;
        traces.push({
          type: "mesh3d", name: mesh.name, showlegend: true, visible: mesh.hidden ? "legendonly" : true,
          z, y, x, i: corner(0), j: corner(1), k: corner(2), hoverinfo: "name", color: tint(1),
          intensity: light(x, y, z, f), cmin: 0, cmax: 1, showscale: false,
          colorscale: [[0, tint(0.22)], [0.55, tint(0.85)], [0.85, tint(1.05)], [1, tint(1.45)]],
          lighting: { ambient: 1, diffuse: 0, specular: 0 },
        });
      }
      // y and z run downwards, as slices do: the first slice is on top, seen from above it looks as in the slice browser
      const line = (name, k, flip) => ({
        title: { text: `${name}, ${data.unit}` }, color: ink, showbackground: false, gridcolor: "#9a9ca3", gridwidth: 1, showline: true, linecolor: "#9a9ca3",
        zeroline: false, showspikes: false, range: flip ? [data.high[k], data.low[k]] : [data.low[k], data.high[k]],
        nticks: Math.max(2, Math.round(8 * data.extent[k] / Math.max(...data.extent))),
      });
      const scene = document.createElement("div");
      scene.className = "scene";
      view.append(scene);
      const layout = {
        paper_bgcolor: "rgba(0,0,0,0)", font: { color: ink, family: "sans-serif", size: 12 }, margin: { l: 0, r: 0, t: 0, b: 0 },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: ink },
        legend: { x: 0.01, y: 0.99, itemsizing: "constant", bgcolor: "rgba(0,0,0,0)", font: { size: 14 } },
        scene: {
          aspectmode: "data", xaxis: line("x", 2, false), yaxis: line("y", 1, true), zaxis: line("z", 0, true),
          camera: { eye: { x: 1.0, y: -1.65, z: 1.1 }, center: { x: 0, y: 0, z: -0.12 } }, dragmode: "orbit",
        },
      };
      await Plotly.newPlot(scene, traces, layout, { responsive: true, displaylogo: false, scrollZoom: true });
    } catch (error) {
      fail(view, error);
    }
  }
})();
