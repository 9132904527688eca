"""The report's pictures, one file for each family; `palette` holds what they share."""

from analysis.report.figures.trade_off import draw_trade_off

__all__ = ["draw_trade_off"]
