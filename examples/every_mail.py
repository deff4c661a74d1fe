import email


def every_mail(session, envelope, message):
    with message.open() as file:
        print(envelope.reverse_path, email.message_from_binary_file(file)["Subject"])
