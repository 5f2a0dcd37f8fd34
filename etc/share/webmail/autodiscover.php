<?php
// Autodiscover, as Outlook and Apple's Mail ask for it: a POST with the user's address, answered with the servers. The request is not parsed as XML;
// only an address is looked for. The servers come from nginx's configuration.
$body = (string) file_get_contents('php://input', false, null, 0, 16384);
$asked = preg_match('~<EMailAddress>\s*([A-Za-z0-9.!#$%*+/=?^_{|}\~-]{1,64}@[A-Za-z0-9.-]{1,253})\s*</EMailAddress>~i', $body, $m);
if (!$asked) {
	http_response_code($_SERVER['REQUEST_METHOD'] === 'POST' ? 400 : 405);
	header('Content-Type: text/plain');
	header('Allow: POST');
	echo "A POST with an EMailAddress is wanted.\n";
	return;
}
$user = htmlspecialchars($m[1], ENT_XML1 | ENT_QUOTES);
header('Content-Type: application/xml');
echo '<?xml version="1.0" encoding="utf-8"?>' . "\n";
?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
  <Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
    <User><DisplayName><?= $user ?></DisplayName></User>
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>
<?php foreach (['IMAP', 'POP3', 'SMTP'] as $type) {
	$port = (int) ($_SERVER['POSTERN_' . $type] ?? 0);
	if ($port > 0) { ?>
      <Protocol>
        <Type><?= $type ?></Type>
        <Server><?= htmlspecialchars($_SERVER['POSTERN_HOST'], ENT_XML1 | ENT_QUOTES) ?></Server>
        <Port><?= $port ?></Port>
        <LoginName><?= $user ?></LoginName>
        <SSL>on</SSL>
        <SPA>off</SPA>
        <AuthRequired>on</AuthRequired>
      </Protocol>
<?php }
} ?>
    </Account>
  </Response>
</Autodiscover>
