"use strict";

// The reference is rendered from this server's own openapi.yaml. Scalar would
// by itself load fonts, count visits, send requests through a proxy and offer
// services of its maker; all of that is turned off, so that the page works
// without the internet and tells nobody that it was read.
Scalar.createApiReference("#reference", {
  url: "openapi.yaml",
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  showDeveloperTools: "never",
  hideClientButton: true,
  agent: { disabled: true },
  mcp: { disabled: true },

  documentDownloadType: "direct",
  modelsSectionLabel: "Schemas",
  defaultOpenFirstTag: true,
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  showOperationId: true,

  // Words and codes in the tables' first column stay whole.
  customCss: ".markdown th:first-child, .markdown td:first-child { min-width: 7rem; word-break: normal; }",
});
