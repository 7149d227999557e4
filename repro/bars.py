"""Figures beside their bars: a cell says the figure, the bar, and whether it is missed."""
from lab import mean


class Bars:
    """Judges cells and counts them, so that a page can say how many met theirs."""

    def __init__(self):
        self.met, self.missed = 0, []

    def judge(self, text, good, bar, name=""):
        if good:
            self.met += 1
            return f"{text}, bar {bar}"
        self.missed.append(name or text)
        return f"{text}, bar {bar}: **missed**"

    def least(self, values, bar, name="", digits=3):
        """The mean of values, which must reach the bar."""
        value = mean(values)
        return "-" if value is None else \
            self.judge(f"{value:.{digits}f}", value >= bar, f"{bar:g}", name)

    def most(self, values, bar, name="", digits=3):
        value = mean(values)
        return "-" if value is None else \
            self.judge(f"{value:.{digits}f}", value <= bar, f"{bar:g}", name)

    def verdict(self):
        """A paragraph on all that was judged."""
        count = self.met + len(self.missed)
        if count == 0:
            return "Nothing here was judged."
        if not self.missed:
            return f"**All {count} figures with a bar meet it.**"
        return (f"**{self.met} of {count} figures with a bar meet it; missed: "
                f"{'; '.join(self.missed)}.**")


def span(values, digits=3):
    """'0.990-0.998', or one number where both ends read alike."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    ends = [f"{v:.{digits}f}" for v in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
