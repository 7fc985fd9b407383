"""`python -m lab.reference`: write the reference pages again."""

from lab.reference.pages import FOLDER, render_pages

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in render_pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")
