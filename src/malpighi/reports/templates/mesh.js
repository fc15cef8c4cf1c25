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
        const corner = k => { const out = new Uint32Array(f.length / 3); for (let i = 0; i < out.length; i++) out[i] = f[3 * i + k]; return out; };
        traces.push({
          type: "mesh3d", name: mesh.name, showlegend: true, visible: mesh.hidden ? "legendonly" : true,
          z: axis(0), y: axis(1), x: axis(2), i: corner(0), j: corner(1), k: corner(2),
          color: `rgb(${mesh.color})`, flatshading: false, hoverinfo: "name",
          lighting: { ambient: 0.42, diffuse: 0.75, specular: 0.25, roughness: 0.55, fresnel: 0.15 },
          lightposition: { x: 40000, y: 90000, z: -90000 },
        });
      }
      // y and z run downwards, as slices do: the first slice is on top, seen from above it looks as in the slice browser
      const line = (name, k, flip) => ({
        title: { text: `${name}, ${data.unit}` }, color: ink, showbackground: false, gridcolor: "rgba(128,128,136,.25)",
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
          camera: { eye: { x: 0.95, y: -1.25, z: 0.85 } }, dragmode: "orbit",
        },
      };
      await Plotly.newPlot(scene, traces, layout, { responsive: true, displaylogo: false, scrollZoom: true });
    } catch (error) {
      fail(view, error);
    }
  }
})();
