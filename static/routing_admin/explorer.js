"use strict";
// Swagger UI over our own schema; signed in to the admin, calls go with its session.
(() => {
  const explorer = document.getElementById("explorer");
  window.SwaggerUIBundle({
    url: explorer.dataset.schema,
    domNode: explorer,
    deepLinking: true,
    docExpansion: "list",
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (new URL(request.url, location.href).origin === location.origin) {
        request.headers["X-CSRFToken"] = explorer.dataset.csrf;
      }
      return request;
    },
  });
})();
