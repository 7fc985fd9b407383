// The API's documentation by Swagger UI, in the pages' color scheme. Nothing is asked of another host.
"use strict";

(() => {
  const place = document.getElementById("api");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const chosen = document.documentElement.dataset.theme;
    document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : system.matches);
  };
  follow();
  document.addEventListener("themechange", follow);
  SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // else the description would be sent to swagger.io
  });
})();
