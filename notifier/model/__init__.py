"""The words: frozen types that pass between the rooms. No verbs that touch the world."""
