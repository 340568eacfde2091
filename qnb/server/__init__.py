"""The server extension: opens and seals for JupyterLab, and looks at every save."""
