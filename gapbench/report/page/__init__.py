"""The page: one HTML file for one run or several, its tables and sentences as plain values, set by templates."""
