"""What tests of hakmem-view and of hakmem-report share: both make pages that are whole."""
import contextlib
import html.parser
import importlib.machinery
import importlib.util
import io
import re
import subprocess
import sys

VOID = {"meta", "br", "link", "img", "input", "hr"}


def fail(why):
    sys.exit(f"FAIL: {sys.argv[0]}: {why}")


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and collects the text and the attributes."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.tags, self.attributes = [], [], {}, []
        self.feed(text)
        self.close()
        if self.open:
            fail(f"the page leaves {self.open} open")

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            fail(f"<{tag}> has an attribute twice: {names}")
        if ("role", "img") in attrs and "aria-label" not in names:
            fail(f"<{tag}> has no alternative text")
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            fail(f"</{tag}> does not close {self.open[-3:]}")
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)

    def all_text(self):
        return "".join(self.text)


def check_page(text):
    page = Page(text)
    if not text.startswith("<!DOCTYPE html>") or page.tags.get("h1") != 1:
        fail("the page is none")
    for tag in ("script", "b", "iframe", "object"):
        if tag in page.tags:
            fail(f"the page has a <{tag}>")
    for tag, name, value in page.attributes:
        if name.startswith("on") or name in ("src", "href"):
            fail(f"<{tag}> has {name}={value}")
    if re.search("[\x00-\x08\x0b-\x1f]", text):
        fail("the page has control characters")
    return page


class Tool:
    """hakmem-view or hakmem-report, in this process or in one of its own."""

    def __init__(self, path):
        loader = importlib.machinery.SourceFileLoader("tool", path)
        self.path = path
        sys.dont_write_bytecode = True
        self.module = importlib.util.module_from_spec(
            importlib.util.spec_from_loader("tool", loader))
        loader.exec_module(self.module)

    def run(self, *arguments):
        """The exit status and what was said on standard error."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            status = self.module.main([str(argument) for argument in arguments])
        return status, said.getvalue()

    def process(self, *arguments, data=None):
        return subprocess.run([sys.executable, self.path, *map(str, arguments)], input=data,
                              capture_output=True)
