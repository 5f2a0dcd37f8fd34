# Run by t/launch/boot inside of a booted system: install, start, send, read, look. Says what fails; 0 when nothing did.
# From test_systemd.py: B, PREFIX, LIBEXECDIR, SYSCONFDIR, PROGRAMS, ROOT.
fail() {
	echo "FAILED: $*"
	ps axo pid,ppid,user,args | grep -v '\['
	systemctl --no-pager -l status 'postern-*.service' 2>&1 | tail -n 60
	journalctl --no-pager -o cat _TRANSPORT=stdout + _TRANSPORT=syslog + _TRANSPORT=journal 2>/dev/null | tail -n 60
	exit 1
}
cd "$ROOT" || exit 1
systemd-sysusers "$ROOT/etc/sysusers.d/postern.conf" || fail users
rm -rf "$SYSCONFDIR/postern" /var/spool/postern /var/lib/postern
DESTDIR='' etc/install install || fail install
conf=$SYSCONFDIR/postern
mkdir -p "$conf"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$conf/key.pem" -out "$conf/cert.pem" -days 30 -subj /CN=mail.example.com \
	-addext subjectAltName=DNS:mail.example.com 2>/dev/null || fail certificate
chmod 600 "$conf/key.pem"
cat > "$conf/postern.conf" <<CONF
myhostname = mail.example.com
virtual_mailbox_domains = example.com
mydestination = mail.example.com localhost
alias_maps = cdb:$conf/aliases
error_notice_recipient = alice@example.com
tls_cert_file = $conf/cert.pem
tls_key_file = $conf/key.pem
plaintext_login_networks = 127.0.0.0/8
CONF
ip link set lo up
# A hung daemon is to be seen in a second, not in a minute.
mkdir -p /run/systemd/system/postern-queued.service.d
printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n' > /run/systemd/system/postern-queued.service.d/quick.conf
systemctl daemon-reload || fail daemon-reload
systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/postern.conf" || fail tmpfiles
echo secret-word | "$PREFIX/sbin/postern" user add alice@example.com --password-stdin || fail "user add"
useradd -m -p x bob || fail useradd
"$PREFIX/sbin/postern" alias add postmaster alice@example.com || fail "alias add"
systemctl start postern.target || fail "start of postern.target"
for u in log authd filterd spawn queued smtpd imapd pop3d; do
	systemctl start "postern-$u.service" || fail "start of $u"
	systemctl is-active --quiet "postern-$u.service" || fail "$u is not active"
done
send() { # recipient
	curl -sS --crlf --max-time 20 smtp://127.0.0.1:25 --mail-from bob@example.net --mail-rcpt "$1" -T - <<-MAIL
		From: bob@example.net
		To: $1
		Subject: under process 1
		Date: Sat, 28 Nov 2026 12:00:00 +0000
		Message-ID: <$1.$2@example.net>

		words
	MAIL
}
send alice@example.com 1 || fail "mail to a user of the suite"
send bob@localhost 1 || fail "mail to a user of the system"
curl -sS --max-time 20 "imap://127.0.0.1/INBOX;MAILINDEX=1;SECTION=TEXT" -u alice@example.com:secret-word | grep -q words || fail "reading it"
# What a user moved to Junk is learned by the timer's unit.
curl -sS --max-time 20 imap://127.0.0.1/INBOX -u alice@example.com:secret-word -X 'COPY 1 Junk' || fail "copy to Junk"
systemctl is-active --quiet postern-learn.timer || fail "the timer of postern-learn is not active"
systemctl start postern-learn.service || fail "postern-learn"
"$PREFIX/sbin/postern" learn --status | grep -q 'words of 1 spam' || fail "what was moved is not learned: $("$PREFIX/sbin/postern" learn --status)"
systemctl start postern-learn-folders.service || fail "postern-learn-folders"
grep -rqs words /home/bob/Maildir/new || fail "mail in a home: $(find /home/bob)"
# Small mail is received in memory, filterd unpacks in memory, as said in the units: nobody had to mount anything.
if journalctl --no-pager -o cat _TRANSPORT=stdout + _TRANSPORT=syslog + _TRANSPORT=journal | grep -E 'received on disk only|plain directory|watchdog|Watchdog|not shown'; then fail "memory or watchdog"; fi
q=$(systemctl show -p MainPID --value postern-queued.service)
grep -q "postern/memory tmpfs" "/proc/$q/mountinfo" 2>/dev/null || grep -q " /var/spool/postern/memory .* tmpfs " "/proc/$q/mountinfo" || fail "no file system in memory"
# What timers start. The report of the day comes to postmaster; a backup that has no place fails, which the alarm tells, and that it is over.
arrived() { # SUBJECT TEXT
	for i in $(seq 1 100); do
		for f in "$state"/mail/alice@example.com/Maildir/new/* "$state"/mail/alice@example.com/Maildir/cur/*; do
			if grep -qs "^Subject: .*$1" "$f" && grep -qs "$2" "$f"; then return 0; fi
		done
		sleep 0.1
	done
	grep -h '^Subject' "$state"/mail/alice@example.com/Maildir/*/*
	return 1
}
state=/var/lib/postern
for t in report alarm backup; do systemctl start "postern-$t.timer" || fail "$t.timer"; done
journalctl --no-pager -o short-iso _TRANSPORT=syslog > /var/log/mail.log 2>/dev/null || fail "no journal"
systemctl start postern-report.service || fail "the report of the day"
arrived "Mail report of mail.example.com" . || fail "no report came"
systemctl start postern-alarm.service || fail "alarm, all is well"
if systemctl start postern-backup.service; then fail "a backup to nowhere"; fi
systemctl start postern-alarm.service || fail "alarm, a failed unit"
arrived "" "timers: warning" || fail "no alarm of a failed unit came"
echo "backup_directory = /srv/backup" >> "$conf/postern.conf"
systemctl start postern-backup.service || fail "the backup of the day"
"$PREFIX/sbin/postern" backup --list | grep -q users/alice@example.com || fail "nothing was saved"
systemctl start postern-alarm.service || fail "alarm, all is well again"
arrived "" "timers: ok" || fail "it is not told that all is well again"

# Reload and restart: an open mail session lives through both.
python3 "$ROOT/t/launch/hold_session" || fail "a session over reload and restart"
# However often: systemd's limit on starts would leave it away for good.
for i in $(seq 1 12); do systemctl restart postern-filterd.service || fail "restart $i of filterd in a row"; done
# While authd is away clients get 421; it is back within a second.
for i in $(seq 1 50); do
	send alice@example.com 2 2>/dev/null && break
	[ "$i" != 50 ] || fail "mail after reload and restart"
	sleep 0.1
done
# Agents are spawn's: queued's unit sees no homes.
! grep -q " /home " "/proc/$q/mountinfo" || ! ls "/proc/$q/root/home/bob" >/dev/null 2>&1 || fail "queued sees homes"
grep -q "NoNewPrivs:.1" "/proc/$q/status" || fail "queued without no_new_privs"
spawned=$(systemctl show -p MainPID --value postern-spawn.service)
[ "$(systemctl show -p MainPID --value postern-queued.service | xargs ps -o args= --ppid | grep -c spawn)" = 0 ] || fail "queued has a spawn of its own"
# One that dies takes nothing with it but the copies in its hands; one that is restarted goes on serving until queued has gone.
systemctl restart postern-spawn.service || fail "restart of spawn"
send bob@localhost 3 || fail "mail after a restart of spawn"
for p in $(ps -o pid= --ppid "$spawned"; ps axo pid=,args= | sed -n 's/^ *\([0-9]*\) spawn$/\1/p'); do kill -KILL "$p"; done
for i in $(seq 1 100); do
	send bob@localhost 4 2>/dev/null && grep -rqs 'localhost.4@' /home/bob/Maildir/new && break
	[ "$i" != 100 ] || fail "mail after the death of spawn's processes"
	sleep 0.1
done
q=$(systemctl show -p MainPID --value postern-queued.service)
kill -STOP "$q"
for i in $(seq 1 200); do
	[ "$(systemctl show -p NRestarts --value postern-queued.service)" != 0 ] && break
	sleep 0.1
done
[ "$(systemctl show -p NRestarts --value postern-queued.service)" != 0 ] || fail "the watchdog did not see a stopped daemon"
# Such a death is over in half a second; it is told all the same, once.
for i in $(seq 1 200); do	# what cannot be mailed before queued is back is told by the next look
	systemctl start postern-alarm.service 2>/dev/null && break
	[ "$i" != 200 ] || fail "alarm, a daemon that died"
	systemctl reset-failed postern-alarm.service
	sleep 0.1
done
arrived "" "restarts: warning" || fail "no alarm of a daemon that died came"
systemctl start postern-alarm.service || fail "alarm, no further death"
arrived "" "restarts: ok" || fail "it is not told that no further daemon died"
# The TLS key as a credential, by the shipped drop-in: from a place that the unit does not see, then encrypted.
tls() {
	curl -sS --max-time 20 --cacert "$conf/cert.pem" --resolve mail.example.com:993:127.0.0.1 imaps://mail.example.com/INBOX -u alice@example.com:secret-word -X NOOP >/dev/null
}
tls || fail "TLS with the key in a file"
mv "$conf/key.pem" /root/mail-key.pem
sed -i 's,^tls_key_file.*,tls_key_file = /run/credentials/postern-authd.service/tls_key,' "$conf/postern.conf"
dropin=/run/systemd/system/postern-authd.service.d
mkdir -p $dropin
cp "$PREFIX/share/postern/systemd/postern-authd-credentials.conf" $dropin/credentials.conf || fail "no drop-in"
restarted() {
	systemctl daemon-reload && systemctl restart postern-authd.service || fail "restart of authd"
	for i in $(seq 1 100); do
		tls 2>/dev/null && return
		sleep 0.1
	done
	fail "TLS with a $1"
}
restarted credential
systemd-creds encrypt --with-key=host --name=tls_key /root/mail-key.pem "$conf/tls_key.cred" || fail "systemd-creds encrypts no TLS key"
rm /root/mail-key.pem
printf '[Service]\nLoadCredential=\nLoadCredentialEncrypted=tls_key:%s\n' "$conf/tls_key.cred" > $dropin/credentials.conf
restarted "credential that was encrypted"
# A renewed certificate, as certbot's hook gives it: its key becomes the credential, in the form that the unit has.
mkdir /root/lineage
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /root/lineage/privkey.pem -out /root/lineage/fullchain.pem -days 30 -subj /CN=mail.example.com \
	-addext subjectAltName=DNS:mail.example.com 2>/dev/null || fail certificate
RENEWED_LINEAGE=/root/lineage RENEWED_DOMAINS=mail.example.com "$PREFIX/share/postern/certbot/deploy-hook" || fail "the hook for certbot"
cmp -s /root/lineage/fullchain.pem "$conf/cert.pem" || fail "the renewed certificate is not in its place"
for i in $(seq 1 100); do
	tls 2>/dev/null && break
	[ "$i" != 100 ] || fail "the renewed key is not used"
	sleep 0.1
done
# The same for a certificate by name, whose key is a credential that systemd takes from certbot's own file.
live=/etc/letsencrypt/live/mail.example.net
mkdir -p $live && chmod 700 /etc/letsencrypt/live
renewed() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $live/privkey.pem -out $live/fullchain.pem -days 30 -subj /CN=mail.example.net \
		-addext subjectAltName=DNS:mail.example.net 2>/dev/null || fail "certificate of mail.example.net"
}
tls_net() {
	curl -sS --max-time 20 --cacert $live/fullchain.pem --resolve mail.example.net:993:127.0.0.1 imaps://mail.example.net/INBOX -u alice@example.com:secret-word -X NOOP >/dev/null 2>&1
}
renewed
printf '[Service]\nLoadCredential=example_net:%s\n' $live/privkey.pem > $dropin/names.conf
echo "mail.example.net $live/fullchain.pem /run/credentials/postern-authd.service/example_net" > "$conf/certificates"
echo "tls_server_sni_maps = texthash:$conf/certificates" >> "$conf/postern.conf"
systemctl daemon-reload && systemctl restart postern-authd.service && systemctl reload postern-smtpd postern-imapd postern-pop3d || fail "certificates by name"
in_time() { # COMMAND, until it succeeds
	for i in $(seq 1 300); do
		"$@" 2>/dev/null && return
		sleep 0.1
	done
	return 1
}
in_time tls_net || fail "TLS with the certificate of a name, its key a credential"
tls || fail "TLS with the first certificate beside it"
renewed
RENEWED_LINEAGE=$live RENEWED_DOMAINS=mail.example.net "$PREFIX/share/postern/certbot/deploy-hook" || fail "the hook for certbot, a certificate by name"
in_time tls_net || fail "the renewed certificate of a name is not served"
in_time tls || fail "TLS with the first certificate after that"
# DKIM keys as well: a directory of them, plain, then encrypted. What authd has not, filterd does not sign.
"$PREFIX/sbin/postern" dkim genkey example.com -s boot -t ed25519 >/dev/null || fail "dkim genkey"
submit() { # ID: a mail of alice's to alice, signed
	curl -sS -k --crlf --max-time 20 smtps://127.0.0.1:465 -u alice@example.com:secret-word --mail-from alice@example.com --mail-rcpt alice@example.com -T - <<-MAIL
		From: alice@example.com
		To: alice@example.com
		Subject: signed
		Date: Sat, 28 Nov 2026 12:00:00 +0000
		Message-ID: <$1@boot.example.com>

		words
	MAIL
}
signs() { # ID
	in_time submit "$1" || fail "submission $1"
	in_time grep -rlq "<$1@boot" "$state"/mail/alice@example.com/Maildir/new "$state"/mail/alice@example.com/Maildir/cur || fail "mail $1 did not come"
	grep -rl "<$1@boot" "$state"/mail/alice@example.com/Maildir/new "$state"/mail/alice@example.com/Maildir/cur | xargs grep -q '^DKIM-Signature:.*' || fail "mail $1 is not signed"
}
"$PREFIX/sbin/postern" dkim activate example.com boot --force >/dev/null || fail "dkim activate"
signs file
name=boot._domainkey.example.com.pem
mkdir -m 700 /root/dkim
mv "$state/dkim/private/$name" /root/dkim/
echo "dkim_credentials_directory = /run/credentials/postern-authd.service" >> "$conf/postern.conf"
printf '[Service]\nLoadCredential=dkim:/root/dkim\n' > $dropin/dkim.conf
restarted "DKIM key as a credential"
signs credential
"$PREFIX/sbin/postern" dkim dns example.com | grep -q '^boot._domainkey' || fail "the record of a key that is a credential"
mkdir -m 700 "$conf/dkim"
systemd-creds encrypt --with-key=host --name="dkim_$name" "/root/dkim/$name" "$conf/dkim/$name" || fail "systemd-creds encrypts no DKIM key"
rm -r /root/dkim
printf '[Service]\nLoadCredentialEncrypted=dkim:%s\n' "$conf/dkim" > $dropin/dkim.conf
restarted "DKIM key as an encrypted credential"
signs encrypted
# A backup holds the files that credentials are loaded from, and not what they are in the clear.
"$PREFIX/sbin/postern" backup >/dev/null || fail "a backup with credentials"
cat /srv/backup/server/*.list > /run/saved || fail "no list of what was saved"
grep -q "$conf/postern.conf$" /run/saved || fail "the configuration is not saved"
grep -q "$(printf '\t')/run/credentials/" /run/saved && fail "a credential was saved: $(grep /run/credentials /run/saved)"
"$PREFIX/sbin/postern" check | grep -q _domainkey && fail "postern check on DKIM keys: $("$PREFIX/sbin/postern" check | grep _domainkey)"
# systemd holds the ports of postern.conf, and what has them sees no network. Other ones: a reload of systemd, a restart; a session lives through it.
[ "$(systemctl show -p ActiveState --value postern-smtpd.socket postern-imapd.socket postern-pop3d.socket | grep -c '^active')" = 3 ] || fail "the sockets are not active"
m=$(systemctl show -p MainPID --value postern-imapd.service)
[ "$(readlink "/proc/$m/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "imapd has the network"
cat >> "$conf/postern.conf" <<-CONF
	imap_listeners = 143/imap 743/imap
	metrics_listeners = 127.0.0.1:9154 [::1]:9154
	filter_milter_listeners = 127.0.0.1:8891
	filter_spamd_listeners = 127.0.0.1:783 unix:/run/postern/spamd.sock
	filter_spamd_tell_listeners = unix:/run/postern/spamd.sock
CONF
systemctl restart postern-imapd.service || fail "restart of imapd"
said() {
	journalctl --no-pager -o cat _TRANSPORT=stdout + _TRANSPORT=syslog + _TRANSPORT=journal | grep -qF "$1"
}
systemctl restart postern-filterd.service || fail "restart of filterd"
in_time said 'filter_milter_listeners: the service manager has passed no socket of 127.0.0.1:8891' || fail "it is not said which socket of filterd is missing"
in_time said 'cannot listen on *:743: the service manager has passed no such socket' || fail "it is not said which port is missing"
in_time said 'port 993 (::) was passed' || fail "it is not said which port is not served"
curl -sS -k --max-time 5 imaps://127.0.0.1/ -u alice@example.com:secret-word >/dev/null 2>&1 && fail "a port is served that the configuration does not name"
systemctl daemon-reload || fail "daemon-reload with other listeners"
systemctl restart postern.target || fail "restart with other listeners"
in_time curl -sS --max-time 20 imap://127.0.0.1:743/INBOX -u alice@example.com:secret-word -X NOOP || fail "the new port"
curl -sS --max-time 5 imaps://127.0.0.1/ >/dev/null 2>&1
[ $? = 7 ] || fail "the old port is open"
for h in 127.0.0.1 '[::1]'; do curl -sS --max-time 20 "http://$h:9154/metrics" | grep -q '^postern_' || fail "no metrics on $h"; done
# filterd's other protocols come the same way.
spamd() { # CURL'S WORDS: is spamd's protocol spoken there?
	printf 'PING SPAMC/1.2\r\n\r\n' | timeout 20 curl -sS --max-time 15 "$@" | grep -q '^SPAMD/.* PONG'
}
in_time spamd telnet://127.0.0.1:783 || fail "spamd's protocol"
in_time spamd --unix-socket /run/postern/spamd.sock telnet://localhost || fail "spamd's protocol on a UNIX socket"
[ "$(stat -c %a:%G /run/postern/spamd.sock)" = 660:_postern_spamd ] || fail "whose spamd.sock is: $(stat -c %a:%G /run/postern/spamd.sock)"
in_time python3 -c 'import socket, struct
s = socket.create_connection(("127.0.0.1", 8891), 10)
s.sendall(struct.pack("!IcIII", 13, b"O", 6, 0x1ff, 0x1fffff))
assert s.recv(5)[4:] == b"O"' || fail "the milter protocol"
m=$(systemctl show -p MainPID --value postern-filterd.service)
[ "$(readlink "/proc/$m/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "filterd has the network"
# The sockets that systemd holds for us are ours; one that it holds for another service is not.
check_ports() { "$PREFIX/sbin/postern" check | grep -E 'is held|in use'; }
check_ports && fail "postern check takes systemd's sockets of ours for another's"
systemctl stop postern.target 'postern-*' || fail stop
printf '[Socket]\nListenStream=110\nService=other.service\n' > /run/systemd/system/other.socket
printf '[Service]\nExecStart=/bin/true\n' > /run/systemd/system/other.service
printf '[Service]\nExecStart=/usr/bin/python3 -c "import socket, time; s = socket.create_server((str(), 25)); time.sleep(100)"\n' > /run/systemd/system/exim4.service
systemctl start other.socket exim4.service || fail "other services"
in_time sh -c 'ss -Hltn "sport = :25" | grep -q .' || fail "the other server does not listen"
check_ports | grep -q 'error: pop3_listeners: port 110 is held by systemd for other.service (other.socket): pop3d does not get it; systemctl disable --now other.socket ends it' || fail "a socket unit of others: $(check_ports)"
check_ports | grep -q 'error: smtp_listeners: port 25 is held by python3 .*: smtpd does not get it; systemctl disable --now exim4 ends it' || fail "another server: $(check_ports)"
systemctl stop other.socket exim4.service
echo "all is well"
