// Starts Redoc on /redoc; a file of its own, because the page allows no inline script.
window.addEventListener("load", () => {
  Redoc.init(
    new URL("openapi.json", document.baseURI).href,
    { hideDownloadButton: false, disableSearch: false },
    document.getElementById("redoc"),
  );
});
