"""The vocabulary: values that every layer speaks in, and no behaviour that needs a clock, chance, disk or network."""
