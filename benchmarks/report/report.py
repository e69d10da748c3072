#!/usr/bin/env python3
"""Makes a page, or tables in Markdown, of what hakmem_bench_compare --json wrote.

The page is one file that needs no other: charts are SVG, the only script sorts and
filters the tables.
"""

import argparse
import sys

from figures import Refused, Results


def main():
    """Ends with status 1 where there is nothing that may be reported."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", help="the JSON file")
    parser.add_argument("--html", metavar="FILE", help="writes the page")
    parser.add_argument("--markdown", action="store_true", help="prints tables")
    arguments = parser.parse_args()
    if not arguments.html and not arguments.markdown:
        parser.error("--html FILE, --markdown, or both")
    try:
        results = Results.read(arguments.results)
    except Refused as refused:
        print(f"{arguments.results}: {refused}", file=sys.stderr)
        return 1
    if arguments.markdown:
        from md import markdown_of  # pylint: disable=import-outside-toplevel

        print(markdown_of(results))
    if arguments.html:
        # Only the page needs matplotlib.
        from page import page_of  # pylint: disable=import-outside-toplevel

        with open(arguments.html, "w", encoding="utf-8") as file:
            file.write(page_of(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
