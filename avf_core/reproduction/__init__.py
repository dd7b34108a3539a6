"""The runner of experiments behind `avf reproduce`: tables, their queue, records and the page."""
