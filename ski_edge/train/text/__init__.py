"""Small text towers, distilled from a frozen sentence encoder; see README.md."""
