"""What hakmem-view and hakmem-report share: reading what the library writes as JSON (dumps),
drawing it (drawings), and the page that it stands in (page)."""
