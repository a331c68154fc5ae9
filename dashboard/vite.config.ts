/** Builds into the Python package; the same sources give the same files, byte by byte. */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const API = process.env.COLLECTOR_API ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "./", // relative, so that it works under a sub-path of a reverse proxy
  plugins: [react()],
  build: {
    outDir: "../collector/api/static/app",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content policy allows no data: addresses
    modulePreload: { polyfill: false },
    target: "es2022",
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // the first with light-dark()
    chunkSizeWarningLimit: 400,
    license: { fileName: "licences.md" },
  },
  server: { proxy: { "/api": API, "/docs": API, "/docs-assets": API, "/openapi.json": API } },
  test: { include: ["src/**/*.test.ts"] },
});
