"""Mail and voicemail notifications."""
