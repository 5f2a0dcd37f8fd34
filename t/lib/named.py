"""Certificates by name for tests: an authority, certificates that it signs, and the table that names them."""
import ssl
import subprocess


class Names:
    """In a directory: ca.pem, NAME.pem and NAME.key, and the table "sni"."""

    def __init__(self, where):
        self.where = where
        self.ca, self.ca_key, self.table = where / "names-ca.pem", where / "names-ca.key", where / "sni"
        self.openssl("req", "-x509", *self.kind("P-256"), "-keyout", self.ca_key, "-out", self.ca, "-days", "30", "-subj", "/CN=authority of names")

    @staticmethod
    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)

    @staticmethod
    def kind(kind):
        return ["-newkey", "rsa:2048", "-nodes"] if kind == "RSA" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:" + kind, "-nodes"]

    def cert(self, stem, *names, kind="P-256", days=30):
        """(certificate, key); made anew when it is there."""
        cert, key, csr, ext = (self.where / (stem + s) for s in (".pem", ".key", ".csr", ".ext"))
        ext.write_text("subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n" % ",".join("DNS:" + n for n in names or [stem]))
        self.openssl("req", *self.kind(kind), "-keyout", key, "-out", csr, "-subj", "/CN=" + stem[:60])
        self.openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self.ca_key, "-CAcreateserial", "-days", days, "-extfile", ext, "-out", cert)
        key.chmod(0o600)
        return cert, key

    def write(self, rows):
        """rows: {name: [(certificate, key), …]}"""
        self.table.write_text("".join("%s\t%s\n" % (name, ", ".join("%s %s" % pair for pair in pairs)) for name, pairs in rows.items()))

    def der(self, stem):
        return ssl.PEM_cert_to_DER_cert((self.where / (stem + ".pem")).read_text())
