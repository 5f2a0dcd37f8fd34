<?php
/**
 * Roundcube plugin: tell the IMAP server for whom the webmail acts, before the login, so that failed logins are counted for the browser's address and
 * not for this machine. The server believes only webmail_hosts of postern.conf.
 */
class postern_client extends rcube_plugin
{
	public function init()
	{
		$this->add_hook('storage_connect', [$this, 'introduce']);
	}

	public function introduce($args)
	{
		$args['preauth_ident'] = [
			'name' => 'Roundcube',
			'x-originating-ip' => (string) ($_SERVER['REMOTE_ADDR'] ?? ''),
		];
		return $args;
	}
}
