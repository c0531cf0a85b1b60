"""One self-contained HTML file about recordings and a decoder."""

from physioemo.experiments.report.page import write_report

__all__ = ["write_report"]
